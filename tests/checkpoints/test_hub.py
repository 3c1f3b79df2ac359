"""Hub ids, with a stand-in for the hub and without any. A fault gives one sentence, and no half of a file."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from fuzzing.hub import COMMIT, LARGE, Hub, Repository, of_folder, running_hub

from exporter.bundle.inspection import inspect_bundle
from tests.bundles import ROOT, TINY_DRAFTER, TINY_TARGET
from tests.command import COMMAND, Done, run

SMALL = {
    "config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 40,
    "notes.txt": b"not asked for",
}
WHOLE = Repository(SMALL)
TRAINED = {
    f"checkpoint-{step}/{name}": content for step in (500, 1000) for name, content in SMALL.items()
}
"""What a trainer puts beside a model, or in its place."""
LONG = Repository({**SMALL, "model.safetensors": bytes(24 << 20)})
"""More than the library takes at once: what it took before a download broke off need not be sent again."""

FAULTS = {
    "t/gated": (
        Repository(status=HTTPStatus.FORBIDDEN, error_code="GatedRepo"),
        "accept this model's licence first",
    ),
    "t/gated-too": (
        Repository(status=HTTPStatus.UNAUTHORIZED, error_code="GatedRepo"),
        "accept this model's licence first",
    ),
    "t/private": (
        Repository(status=HTTPStatus.UNAUTHORIZED, error_code="RepoNotFound"),
        "no such model on the hub (or it is private",
    ),
    "t/forbidden": (Repository(status=HTTPStatus.FORBIDDEN), "refuses access (status 403)"),
    "t/broken": (Repository(status=HTTPStatus.INTERNAL_SERVER_ERROR), "answered with status 500"),
    "t/busy": (Repository(status=HTTPStatus.SERVICE_UNAVAILABLE), "answered with status 503"),
    "t/shorter": (replace(WHOLE, shorter=3), "should be of size 10240 but has size 10237"),
    "t/flipped": (replace(WHOLE, flipped=True), "do not have the checksums that the hub names"),
    "t/small-flipped": (
        replace(WHOLE, flipped=True, files={**SMALL, "config.json": b"[]"}, sums_of=SMALL),
        "(config.json)",
    ),
    "t/mirrored": (replace(WHOLE, mirrored=True, flipped=True), "(model.safetensors)"),
    "t/above": (Repository({**SMALL, "../above.jinja": b"{}"}), "cannot contain a '..'"),
    "t/root": (Repository({**SMALL, "/mtp-export-root.jinja": b"{}"}), "cannot be an absolute"),
    "t/page": (replace(WHOLE, described=b"<html>Welcome</html>"), "(JSONDecodeError"),
    "t/no-commit": (replace(WHOLE, described={"id": "t/no-commit"}), "must have a revision sha"),
    "t/odd-commit": (replace(WHOLE, described={"id": "x", "sha": "../../x"}), "status 404"),
    "t/odd-list": (replace(WHOLE, listed=[{"type": "file"}]), "(KeyError"),
    "t/no-list": (replace(WHOLE, listed={"a": 1}), "(TypeError"),
    "t/gguf": (
        Repository({"README.md": b"", "gemma-Q4_K_M.gguf": b"GGUF"}),
        "t/gguf: expected config.json and safetensors weights, or a LoRA adapter, found weights for "
        "llama.cpp (gemma-Q4_K_M.gguf); give the safetensors checkpoint",
    ),
    "t/pickled": (
        Repository({"config.json": b"{}", "pytorch_model.bin": b""}),
        "found weights in a pickle (pytorch_model.bin)",
    ),
    "t/onnx": (
        Repository({"config.json": b"{}", "onnx/model_q4.onnx": b""}),
        "found ONNX models of another tool (onnx/model_q4.onnx)",
    ),
    "t/trained-only": (
        Repository(TRAINED),
        "one level down only (checkpoint-1000); fetch that folder and give its path: `hf download "
        "t/trained-only --include 'checkpoint-1000/*'",
    ),
    "t/whole@gone": (WHOLE, "the hub has this model but not this revision"),
}  # fmt: skip
"""Models that cannot be downloaded, and what is said of each."""

GOOD = {
    "t/whole": WHOLE,
    "t/moved": Repository(moved="t/whole"),
    "t/elsewhere": replace(WHOLE, elsewhere=True),
    "t/mirrored": replace(LONG, mirrored=True),
    "t/interrupted": replace(LONG, cut=1),
    "t/trained": Repository({**SMALL, **TRAINED}),
}
"""Models that can be, by ways around."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


def environment(hub: Hub, home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def downloaded(hub: Hub, home: Path, *names: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.downloads", *names]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(hub, home), cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def wanted_files(repository: Repository) -> dict[str, str]:
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in repository.files.items()
        if name.endswith((".json", LARGE)) and "/" not in name
    }


def test_faults_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    """One process for all of them: most of the time is its start."""
    hub.repositories |= {
        name.partition("@")[0]: repository for name, (repository, _) in FAULTS.items()
    }
    refused = [found.get("refused", "") for found in downloaded(hub, tmp_path, *FAULTS, "t/none")]
    said = {name: text for name, (_, text) in FAULTS.items()} | {
        "t/none": "no such model on the hub"
    }
    for (name, text), found in zip(said.items(), refused, strict=True):
        assert text in found, f"{name}: {found!r}"
        assert len(found.splitlines()) <= 3
    assert not list(tmp_path.rglob("above.jinja"))
    assert not list(tmp_path.rglob("checkpoint-*"))
    assert not Path("/mtp-export-root.jinja").exists()


def test_ways_around(hub: Hub, tmp_path: Path) -> None:
    """A renamed model, files at another address, a mirror, a download that breaks off once and goes on.

    Folders within a model are not fetched.
    """
    hub.repositories |= GOOD
    found = dict(zip(GOOD, downloaded(hub, tmp_path, *GOOD), strict=True))
    assert {one["commit"] for one in found.values()} == {COMMIT}
    for name, repository in GOOD.items():
        wanted = wanted_files(repository if repository.moved is None else WHOLE)
        assert found[name]["files"] == wanted
    (span,) = [span for _, path, span in hub.requests if "t/interrupted" in path and span]
    assert 0 < int(span.removeprefix("bytes=").removesuffix("-")) <= 12 << 20


def test_a_download_that_breaks_off_again_and_again(hub: Hub, tmp_path: Path) -> None:
    """No file of the model seems to be there that is not whole; the next run fetches that one alone."""
    broken = hub.repositories["t/model"] = replace(LONG, cut=1_000)
    (refused,) = downloaded(hub, tmp_path, "t/model")
    assert "downloading it from the hub failed (RemoteProtocolError" in refused["refused"]
    assert [path.name for path in tmp_path.rglob("snapshots/*/*")] == ["config.json"]
    broken.cut, hub.requests[:] = 0, []
    (found,) = downloaded(hub, tmp_path, "t/model")
    assert found["files"] == wanted_files(LONG)
    assert [path for method, path, _ in hub.requests if method == "GET" and "resolve" in path] == [
        f"/t/model/resolve/{COMMIT}/model.safetensors"
    ]


def export(hub: Hub, home: Path, output: Path, target: str, drafter: str) -> Done:
    command = [*COMMAND, "export", target, drafter, "-o", str(output)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(hub, home)
    )


@pytest.mark.slow
def test_an_export_by_hub_ids(hub: Hub, tmp_path: Path) -> None:
    """It is the export of the folders that the files come to lie in, byte by byte."""
    pair = {"tiny/target": TINY_TARGET, "tiny/drafter": TINY_DRAFTER}
    hub.repositories |= {name: Repository(of_folder(folder)) for name, folder in pair.items()}
    output, again = tmp_path / "hub.litertlm", tmp_path / "folders.litertlm"
    done = export(hub, tmp_path / "home", output, *pair)
    assert done.returncode == 0, done.stderr
    manifest = inspect_bundle(output).manifest
    assert manifest is not None
    named = {(block["source"], block["revision"]) for block in manifest["sources"].values()}
    assert named == {(name, COMMIT) for name in pair}
    kept = [
        tmp_path / f"home/hub/models--{name.replace('/', '--')}/snapshots/{COMMIT}" for name in pair
    ]
    assert run("export", *kept, "-o", again).returncode == 0
    assert again.read_bytes() == output.read_bytes()


@pytest.mark.slow
def test_an_export_of_a_damaged_download(hub: Hub, tmp_path: Path) -> None:
    """The bytes are hashed beside the work; nothing is written in the end."""
    hub.repositories["tiny/target"] = Repository(of_folder(TINY_TARGET), flipped=True)
    output = tmp_path / "there" / "hub.litertlm"
    output.parent.mkdir()
    done = export(hub, tmp_path / "home", output, "tiny/target", str(TINY_DRAFTER))
    assert done.returncode == 1
    assert "model.safetensors" in done.stderr
    assert "do not have the checksums that the hub names" in done.stderr
    assert list(output.parent.iterdir()) == []


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    """Offline mode makes the library answer at once that nothing is there."""
    command = [*COMMAND, "export", "google/gemma-4-none", "--no-drafter", "-o"]
    done = subprocess.run(
        [*command, str(tmp_path / "x.litertlm")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
    )
    assert done.returncode == 1
    assert "google/gemma-4-none: no local folder of that name" in done.stderr
    assert "Traceback" not in done.stderr
