"""What it makes: the same bytes every time, and a manifest that says from what."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from exporter.bundle.reader import open_bundle
from exporter.files.checksum import sha256
from exporter.litertlm.stamp import EPOCH_VARIABLE, TIME_KEY, UUID_KEY, stamp
from tests.bundles import CACHE_LENGTH, TINY_DRAFTER, TINY_TARGET
from tests.export.command import run


@pytest.mark.slow
def test_equal_input_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second pair is a copy elsewhere, exported later under another name."""
    monkeypatch.delenv(EPOCH_VARIABLE, raising=False)
    first, second = tmp_path / "a.litertlm", tmp_path / "elsewhere" / "b.litertlm"
    copies = [second.parent / folder.name for folder in (TINY_TARGET, TINY_DRAFTER)]
    for folder, copy in zip((TINY_TARGET, TINY_DRAFTER), copies, strict=True):
        shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    assert run("-o", first).returncode == 0
    assert run("-o", second, target=copies[0], drafter=copies[1]).returncode == 0
    assert sha256(first) == sha256(second)


def test_uuid_and_time_follow_from_the_content(
    tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SOURCE_DATE_EPOCH changes the time alone; another content has another uuid."""
    copy = shutil.copyfile(tiny_bundles["int8"], tmp_path / "copy.litertlm")
    other = open_bundle(tiny_bundles["float32"])
    monkeypatch.setenv(EPOCH_VARIABLE, "1700000000")
    stamp(copy)
    made, dated = (open_bundle(path) for path in (tiny_bundles["int8"], copy))
    assert dated.system_metadata[TIME_KEY] == "2023-11-14T22:13:20.000000+00:00"
    assert made.system_metadata[UUID_KEY] == dated.system_metadata[UUID_KEY]
    assert made.system_metadata[UUID_KEY] != other.system_metadata[UUID_KEY]
    assert made.sections == dated.sections
    content = tiny_bundles["int8"].read_bytes(), copy.read_bytes()
    begin = min(section.begin for section in made.sections)
    assert content[0][begin:] == content[1][begin:]


def test_a_date_that_is_none_is_refused_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EPOCH_VARIABLE, "yesterday")
    done = run("-o", folder / "a.litertlm", target=folder / "nowhere")
    assert done.returncode == 2
    assert "SOURCE_DATE_EPOCH: expected seconds since 1970, found 'yesterday'" in done.stderr
    assert not list(folder.iterdir())


def test_the_manifest_says_where_it_came_from(tiny_bundles: dict[str, Path]) -> None:
    import hashlib

    manifest = open_bundle(tiny_bundles["int8"]).manifest()
    assert manifest is not None
    weights = (TINY_TARGET / "model.safetensors").read_bytes()
    target = manifest["sources"]["target"]
    assert target["source"] == "target"
    assert target["sha256"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert any("vision_tower" in name for name in target["ignored_tensors"])
    assert manifest["recipe"]["name"] == "int8"
    assert manifest["contract"]["cache_length"] == CACHE_LENGTH
    assert str(Path.home()) not in json.dumps(manifest)
    assert os.sep + "tiny" not in json.dumps(manifest)
