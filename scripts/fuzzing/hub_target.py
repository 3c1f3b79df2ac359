"""Answers of the hub: a description of a model and a list of its files, downloaded from a stand-in."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from exporter.checkpoints.hub import download
from fuzzing.hub import COMMIT, Hub, Repository
from fuzzing.target import Case, Target

FILES = {
    "config.json": b"{}",
    "model.safetensors": bytes(64),
    "additional_chat_templates/more.jinja": b"",
}
DESCRIPTION, LIST = "description.json", "list.json"


class EscapedError(Exception):
    """A download lies outside the folder of its model."""


def hub(folder: Path) -> Target:
    """Has to be made before huggingface_hub is imported, which then looks up where its hub is."""
    assert "huggingface_hub" not in sys.modules, "huggingface_hub knows another hub already"
    server, home = Hub(), folder / "home"
    os.environ |= {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
    }
    listed = server.entries(Repository(FILES))
    described = {"id": "t/model", "sha": COMMIT, "siblings": [{"rfilename": f} for f in FILES]}
    parts = {DESCRIPTION: json.dumps(described).encode(), LIST: json.dumps(listed).encode()}

    def read(case: Case) -> None:
        described, listed = (case.content if case.part == part else None for part in parts)
        server.repositories["t/model"] = Repository(FILES, described=described, listed=listed)
        with server.running():  # only now: threads do not outlive a fork
            fetch()

    def fetch() -> None:
        shutil.rmtree(home, ignore_errors=True)
        found, _ = download("t/model", None)
        for path in found.rglob("*"):
            if not path.resolve().is_relative_to(home.resolve()):
                raise EscapedError(str(path))

    return Target("hub", parts, read)
