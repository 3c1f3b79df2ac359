"""Where tensors lie in safetensors files: damaged headers, and shards that do not belong together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from exporter.checkpoints.checkpoint import (
    open_checkpoint,
    require,
)
from exporter.checkpoints.tensors.stored_tensor import INDEX, SINGLE, read_directory
from exporter.errors import CheckpointError
from tests.checkpoints.small import TENSORS, write, write_sharded


def set_header(file: Path, header: bytes) -> None:
    """Replace a safetensors file's header and keep its data."""
    data = file.read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    file.write_bytes(len(header).to_bytes(8, "little") + header + body)


@pytest.mark.parametrize("kept", [0, 5, 8, 60, -1])
def test_truncated_file(kept: int, tmp_path: Path) -> None:
    """Cut anywhere: in the length, in the header, in the last tensor."""
    file = write(tmp_path) / SINGLE
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*download it again"):
        open_checkpoint(tmp_path)


def entry(**change: object) -> bytes:
    whole: dict[str, object] = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    whole |= change
    return json.dumps({"b": whole}).encode()


HOSTILE = (
    entry(data_offsets=[1, 25]),  # the file's size allows it: there is more after b
    entry(data_offsets=[0.5, 24.5]),
    entry(shape=["2", 3]),
    entry(shape=[2.0, 3]),
    entry(shape=[True, 6], data_offsets=[False, 24]),
    entry(shape="23"),
    entry()[:-1] + b", " + entry()[1:],  # b twice
    entry()[:-1] + b', "c": ' + entry()[6:],  # c over b
    entry(dtype=["F32"]),
)
"""Headers that look right to a reader that does not look closely."""


@pytest.mark.parametrize("header", HOSTILE)
def test_what_the_official_reader_refuses(header: bytes, tmp_path: Path) -> None:
    file = write(tmp_path) / SINGLE
    set_header(file, header)
    with pytest.raises(SafetensorError):
        safe_open(file, "np")


def test_bytes_behind_the_last_tensor(tmp_path: Path) -> None:
    """A file that is two things at once, which the official reader refuses, too."""
    file = write(tmp_path) / SINGLE
    file.write_bytes(file.read_bytes() + b"PK")
    with pytest.raises(SafetensorError):
        safe_open(file, "np")
    with pytest.raises(CheckpointError, match="what follows the last tensor is no part"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[1, 2]",
        b"\xff\xfe{}",
        b'{"b": 3}',
        b'{"b": {"dtype": "F32"}}',
        entry(dtype="F128"),
        entry(shape=[3, 3]),
        entry(shape=[-2, -3]),
        entry(shape=[float("inf")]),
        entry(data_offsets=[-24, 0]),
        entry(data_offsets=[0]),
        entry(data_offsets=[0, None]),
        b'{"b":' + b"[" * 100_000,
        *HOSTILE,
    ],
)
def test_damaged_header(header: bytes, tmp_path: Path) -> None:
    file = write(tmp_path) / SINGLE
    set_header(file, header)
    with pytest.raises(CheckpointError, match="header is damaged"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"{", "expected JSON, found something else"),
        (b'{"b": {"dtype": "F32"}}', "b has no shape, data_offsets"),
        (entry(dtype="F4"), "b is of the type 'F4', which is not known here"),
    ],
)
def test_what_is_wrong_with_a_header_is_said(header: bytes, said: str, tmp_path: Path) -> None:
    file = write(tmp_path) / SINGLE
    set_header(file, header)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(tmp_path)


@given(at=st.integers(0, 200), value=st.integers(0, 255))
def test_any_damaged_byte_is_our_error_or_harmless(
    at: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never a traceback, and never a tensor that would be read from outside the file."""
    file = write(tmp_path_factory.mktemp("damaged")) / SINGLE
    data = bytearray(file.read_bytes())
    data[at] = value
    file.write_bytes(data)
    try:
        tensors = read_directory(file)
    except CheckpointError:
        return
    assert all(8 <= t.offset <= t.offset + t.nbytes <= len(data) for t in tensors.values())


def test_missing_shard(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing: model-00002-of-00002"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "nil"])
def test_damaged_index(index: str, tmp_path: Path) -> None:
    (write_sharded(tmp_path) / INDEX).write_text(index)
    with pytest.raises(CheckpointError, match=re.escape(INDEX)):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "shard", ["../elsewhere.safetensors", "/elsewhere.safetensors", "a/../../elsewhere.safetensors"]
)
def test_shards_outside_the_folder(shard: str, tmp_path: Path) -> None:
    """An index is a file from the net: it does not choose what else is read."""
    write_sharded(tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    index["weight_map"]["a.weight"] = shard
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=f"expected shards in this folder, found {shard}"):
        open_checkpoint(tmp_path)


def test_tensors_in_two_files(tmp_path: Path) -> None:
    """Two saves in one folder: which is meant is not ours to guess."""
    write(tmp_path)
    (tmp_path / SINGLE).rename(tmp_path / "consolidated.safetensors")
    save_file({"b.weight": TENSORS["b.weight"]}, tmp_path / "extra.safetensors")
    said = r"b\.weight is in consolidated\.safetensors and in extra\.safetensors"
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(tmp_path)


def test_a_shard_without_its_tensor(tmp_path: Path) -> None:
    """An index that promises more than the shards hold comes from a half-written download."""
    write_sharded(tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    index["weight_map"]["c.weight"] = index["weight_map"]["a.weight"]
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"c\.weight"):
        require(open_checkpoint(tmp_path), {"c.weight": (1,)})
