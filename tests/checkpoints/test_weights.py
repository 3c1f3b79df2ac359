"""Which tensors fill the weights of graphs: what does not fit is listed, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.checkpoints.checkpoint import (
    open_checkpoint,
    require,
)
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_names import TOKEN_ORDERING, find_names
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Dtype, Section, TensorSpec
from exporter.errors import CheckpointError
from exporter.weights.matching import (
    BLOCK_ELEMENTS,
    Weight,
    find_weights,
    unused_tensors,
)
from tests.checkpoints.small import write
from tests.pairs import Pair


def test_missing_and_mis_shaped_tensors_are_all_listed(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path))
    require(checkpoint, {"a.weight": (3, 4), "b.weight": (6,)})
    wanted = {"a.weight": (4, 3), "b.weight": (6,), "c.weight": (1,), "d.weight": (2, 2)}
    with pytest.raises(CheckpointError) as raised:
        require(checkpoint, wanted)
    assert str(raised.value).splitlines() == [
        f"{tmp_path}: 3 problems:",
        "  - a.weight has shape [3, 4], expected [4, 3]",
        "  - c.weight is missing, expected shape [1]",
        "  - d.weight is missing, expected shape [2, 2]",
    ]


def ordering_weight(tensor: StoredTensor, reader: TensorReader) -> Weight:
    spec = TensorSpec((4, 2), Dtype.INT32)
    return Weight(f"drafter.{TOKEN_ORDERING}", spec, tensor, reader)


def test_token_ordering(tmp_path: Path) -> None:
    """Row c of the table holds the tokens of cluster c."""
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    checkpoint = open_checkpoint(write(tmp_path, {TOKEN_ORDERING: order}))
    with TensorReader() as reader:
        table = ordering_weight(checkpoint.tensors[TOKEN_ORDERING], reader).ordering()
    assert table.dtype == np.int32
    assert table.tolist() == [[3, 1], [7, 0], [2, 6], [5, 4]]


@pytest.mark.parametrize("order", [[0] * 8, [8, 1, 2, 3, 4, 5, 6, 7], [-1, 1, 2, 3, 4, 5, 6, 7]])
def test_bad_token_ordering(order: list[int], tmp_path: Path) -> None:
    """All zeros is what transformers saves for a head that was never fitted."""
    checkpoint = open_checkpoint(write(tmp_path, {TOKEN_ORDERING: torch.tensor(order)}))
    with (
        TensorReader() as reader,
        pytest.raises(CheckpointError, match="must list every token once"),
    ):
        ordering_weight(checkpoint.tensors[TOKEN_ORDERING], reader).ordering()


def test_blocks_cover_a_weight(tmp_path: Path) -> None:
    """In order and without gaps, though the last block is short."""
    width, rows_a_block = 1500, BLOCK_ELEMENTS // 1500
    values = torch.arange((rows_a_block + 3) * width, dtype=torch.float32).reshape(-1, width)
    tensor = open_checkpoint(write(tmp_path, {"x": values})).tensors["x"]
    with TensorReader() as reader:
        weight = Weight("target.x", TensorSpec(tensor.shape), tensor, reader)
        blocks = list(weight.blocks())
    assert [len(block) for block in blocks] == [rows_a_block, 3]
    assert np.array_equal(np.concatenate(blocks), values.numpy())


def test_unused_tensors_are_known(pairs: dict[str, Pair]) -> None:
    """The vision tower and the k/v of sharing layers 4 and 7: read by nothing, reported."""
    target = open_checkpoint(pairs["e2b"].target)
    prefix = find_names(target).prefix
    assert prefix == "model.language_model."
    extra = {f"{prefix}layers.{layer}.self_attn.{part}.weight"
             for layer in (4, 7) for part in ("k_proj", "v_proj", "k_norm", "v_norm")}  # fmt: skip
    used = {
        name.removeprefix(prefix): TensorSpec(tensor.shape)
        for name, tensor in target.tensors.items()
        if name.startswith(prefix) and name not in extra
    }
    with TensorReader() as reader:
        found = find_weights({Section.PREFILL_DECODE: used}, target, None, reader)
    unused = unused_tensors(target, found)
    towers = [name for name in unused if "vision" in name]
    assert towers
    assert set(unused) - set(towers) == extra
