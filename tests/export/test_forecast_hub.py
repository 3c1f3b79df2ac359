"""``export --dry-run`` of what is on the hub: it says what must be downloaded, and fetches configs alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from fuzzing import hub

from tests.bundles import ROOT, TINY_DRAFTER, TINY_TARGET
from tests.command import COMMAND


@pytest.mark.slow
def test_what_must_be_downloaded(tmp_path: Path) -> None:
    """Of an adapter whose base is named by a copy that was quantised for training."""
    adapter = hub.of_folder(ROOT / "checkpoints" / "tiny" / "tools")
    config = json.loads(adapter["adapter_config.json"])
    config["base_model_name_or_path"] = "google/tiny-bnb-4bit"
    adapter["adapter_config.json"] = json.dumps(config).encode()
    files = {"google/tiny": TINY_TARGET, "google/tiny-assistant": TINY_DRAFTER}
    with hub.running_hub() as server:
        server.repositories |= {n: hub.Repository(hub.of_folder(f)) for n, f in files.items()}
        server.repositories["me/tools"] = hub.Repository(adapter)
        done = subprocess.run(
            [*COMMAND, "export", "me/tools", "--recipe", "int8", "--dry-run", "--json"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **{name: value for name, value in os.environ.items() if name != "HF_HUB_CACHE"},
                "HF_ENDPOINT": server.address,
                "HF_HOME": str(tmp_path / "home"),
                "PYTHONPATH": str(ROOT),
            },
        )
        asked = [path for method, path, _ in server.requests if method == "GET"]
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "target: google/tiny (inferred: me/tools is an adapter of it; `export TARGET --lora me/tools` takes "
        "another)",
        "drafter: google/tiny-assistant (inferred; name another behind TARGET, or give --no-drafter)",
        "output: tools-int8.litertlm (inferred; -o names another)",
    ]
    assert {path.rpartition("/")[2] for path in asked if "/resolve/" in path} == {
        "config.json",
        "adapter_config.json",
    }
    found = json.loads(done.stdout)
    assert found["graphs_known"] is None
    missing = {file["name"]: file["nbytes"] for file in found["files"] if not file["here"]}
    assert missing.keys() >= {"model.safetensors", "adapter_model.safetensors", "tokenizer.json"}
    assert "config.json" not in missing
    assert found["download_bytes"] == sum(
        file["nbytes"] for file in found["files"] if not file["here"]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
