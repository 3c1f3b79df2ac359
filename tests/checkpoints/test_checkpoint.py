"""Reading checkpoints: right values from good files, and one clear error from each bad one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from exporter.checkpoints.checkpoint import (
    hash_files,
    open_checkpoint,
    require,
    resolve,
)
from exporter.checkpoints.tensors.stored_tensor import INDEX, SINGLE, read_directory
from exporter.checkpoints.tensors.tensor_names import find_names
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.errors import CheckpointError
from tests.checkpoints.small import TENSORS, floats, write, write_sharded
from tests.pairs import Pair


def set_header(file: Path, header: bytes) -> None:
    """Replace a safetensors file's header and keep its data."""
    data = file.read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    file.write_bytes(len(header).to_bytes(8, "little") + header + body)


@pytest.mark.parametrize("layout", [write, write_sharded])
def test_values_of_both_layouts(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    checkpoint = open_checkpoint(layout(tmp_path))
    assert checkpoint.config == {"model_type": "gemma4"}
    assert checkpoint.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert np.array_equal(floats(checkpoint, name), tensor.numpy())
    assert len(checkpoint.weight_files) == (1 if layout is write else 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_float_types_are_torchs(dtype: torch.dtype, tmp_path: Path) -> None:
    """Bit for bit, subnormals and negative zero included, from any element on."""
    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    if dtype == torch.float32:
        values = bits.to(torch.float32) * 1.2345e-40
    else:
        values = bits.view(dtype)
        values = values[values.isfinite()]
    checkpoint = open_checkpoint(write(tmp_path, {"x": values}))
    tensor = checkpoint.tensors["x"]
    with TensorReader() as reader:
        read = reader.floats(tensor, 1000, len(values) - 1000)
    expected = values[1000:].float().numpy()
    assert np.array_equal(read.view(np.uint32), expected.view(np.uint32))


def test_every_tensor_of_a_transformers_checkpoint(pair: Pair) -> None:
    """The independent reader of the format agrees on the whole file."""
    for folder in (pair.target, pair.drafter):
        checkpoint = open_checkpoint(folder)
        expected = load_file(folder / SINGLE)
        assert checkpoint.tensors.keys() == expected.keys()
        for name, tensor in expected.items():
            if tensor.is_floating_point():
                assert np.array_equal(floats(checkpoint, name), tensor.float().numpy())
            else:
                with TensorReader() as reader:
                    integers = reader.integers(checkpoint.tensors[name])
                assert np.array_equal(integers, tensor.numpy())


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


def test_pickles_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / SINGLE).unlink()
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        CheckpointError, match=r"a pickle \(pytorch_model\.bin\).*safe_serialization=True"
    ):
        open_checkpoint(tmp_path)


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


@pytest.mark.parametrize("shard", ["../elsewhere.safetensors", "/elsewhere.safetensors"])
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


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", r"found weights without their configuration \(model\.safetensors\)"),
        (SINGLE, r"found a config\.json without weights"),
        ("", "found no such file or folder"),
    ],
)
def test_missing_files(missing: str, said: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    if missing:
        (folder / missing).unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "text", ["{", "[]", "\udcff", '{"a": ' + "9" * 5000 + "}", '{"a": "\\ud800"}']
)
def test_config_that_is_not_an_object(text: str, tmp_path: Path) -> None:
    file = write(tmp_path) / "config.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=r"config\.json: expected"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_values_are_named(bad: float, dtype: torch.dtype, tmp_path: Path) -> None:
    """By tensor and by element of the whole tensor, though a block further in was read."""
    values = torch.ones(4, 8, dtype=dtype)
    values[2, 3] = values[3, 1] = bad
    checkpoint = open_checkpoint(write(tmp_path, {"x.weight": values}))
    with (
        TensorReader() as reader,
        pytest.raises(CheckpointError, match=r"x\.weight .*first is element 19\)"),
    ):
        reader.floats(checkpoint.tensors["x.weight"], 8, 24)


def test_wrong_element_types(tmp_path: Path) -> None:
    tensors = {"codes": torch.zeros(4, dtype=torch.int8), "rows": torch.zeros(4)}
    checkpoint = open_checkpoint(write(tmp_path, tensors))
    with TensorReader() as reader:
        with pytest.raises(CheckpointError, match="codes is I8, expected one of F32, F16, BF16"):
            reader.floats(checkpoint.tensors["codes"], 0, 4)
        with pytest.raises(CheckpointError, match="rows is F32, expected I64 or I32"):
            reader.integers(checkpoint.tensors["rows"])


def test_a_file_that_shrinks_while_reading(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path))
    file = tmp_path / SINGLE
    file.write_bytes(file.read_bytes()[:-4])
    last = max(checkpoint.tensors.values(), key=lambda tensor: tensor.offset)
    with TensorReader() as reader, pytest.raises(CheckpointError, match=f"reading {last.name}"):
        reader.floats(last, 0, int(np.prod(last.shape)))


def test_a_target_without_text_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected the text model's embedding as one of"):
        find_names(open_checkpoint(write(tmp_path)))


def test_local_folder_is_not_downloaded(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine")

    def refuse(name: str, revision: str | None) -> tuple[Path, str]:
        raise AssertionError("a local folder needs no hub")

    checkpoint = resolve(str(folder), None, refuse)
    assert (checkpoint.source, checkpoint.revision) == ("mine", None)
    with pytest.raises(CheckpointError, match="revision applies to hub ids only"):
        resolve(str(folder), "main", refuse)
    for name in (str(tmp_path / "typo"), "./typo", "typo", "a/b/c"):
        with pytest.raises(CheckpointError, match="expected a folder or a hub id"):
            resolve(name, None, refuse)


def test_hub_id(tmp_path: Path) -> None:
    """What was asked for and the commit that came are both kept."""
    asked = []

    def download(name: str, revision: str | None) -> tuple[Path, str]:
        asked.append((name, revision))
        return write(tmp_path / "snapshot"), "0123abcd"

    checkpoint = resolve("google/gemma-4-E2B-it", "main", download)
    assert asked == [("google/gemma-4-E2B-it", "main")]
    assert (checkpoint.source, checkpoint.revision) == ("google/gemma-4-E2B-it", "0123abcd")
    assert checkpoint.tensors.keys() == TENSORS.keys()


def test_hash_files(tmp_path: Path) -> None:
    """Known digests, and every byte is reported as progress."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "abc").write_bytes(b"abc")
    told: list[int] = []
    digests = hash_files([tmp_path / "empty", tmp_path / "abc"], told.append)
    assert digests["empty"].startswith("e3b0c44298fc1c14")
    assert digests["abc"].startswith("ba7816bf8f01cfea")
    assert sum(told) == 3


def test_small_files(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path))
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 106]}')
    assert checkpoint.json_file("generation_config.json") == {"eos_token_id": [1, 106]}
    assert checkpoint.text_file("config.json") == '{"model_type": "gemma4"}'
    assert checkpoint.json_file("tokenizer.json") is None
    assert checkpoint.text_file("chat_template.jinja") is None
