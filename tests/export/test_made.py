"""What it makes: the same bytes every time, and a manifest that says from what."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from exporter.bundle.reader import open_bundle
from tests.bundles import CACHE_LENGTH, TINY_TARGET
from tests.export.command import run

VOLATILE_FIELDS = ("uuid", "creation_timestamp")
"""Header fields that differ between two exports of the same input."""


@pytest.mark.slow
def test_equal_input_gives_equal_bytes(folder: Path) -> None:
    """Apart from the two header fields the builder stamps."""
    first, second = folder / "a.litertlm", folder / "b.litertlm"
    for output in (first, second):
        assert run("-o", output).returncode == 0
    headers = [open_bundle(path) for path in (first, second)]
    for bundle in headers:
        for name in VOLATILE_FIELDS:
            bundle.system_metadata.pop(name)
    assert headers[0].system_metadata == headers[1].system_metadata
    assert headers[0].sections == headers[1].sections
    for section in headers[0].sections:
        assert headers[0].read(section) == headers[1].read(section)


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
