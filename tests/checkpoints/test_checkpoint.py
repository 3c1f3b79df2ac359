"""Reading checkpoints: right values from good files, and one clear error from each bad one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from exporter.checkpoints.checkpoint import (
    hash_files,
    open_checkpoint,
    resolve,
)
from exporter.checkpoints.tensors.stored_tensor import SINGLE
from exporter.checkpoints.tensors.tensor_names import find_names
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.errors import CheckpointError
from tests.checkpoints.small import TENSORS, floats, write, write_sharded
from tests.pairs import Pair


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


def test_pickles_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / SINGLE).unlink()
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        CheckpointError, match=r"a pickle \(pytorch_model\.bin\).*safe_serialization=True"
    ):
        open_checkpoint(tmp_path)


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
    page = "https://huggingface.co/google/gemma-4-E2B-it/tree/main"
    with pytest.raises(CheckpointError, match=r"a page: give google/gemma-4-E2B-it$"):
        resolve(page, None, refuse)


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
