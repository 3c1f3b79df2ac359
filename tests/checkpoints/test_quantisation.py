"""Quantisation blocks of other tools: refused by name where weights are packed, else ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.errors import CheckpointError
from exporter.verify.sides.golden import Golden, ask
from tests.bundles import TINY_TARGET
from tests.checkpoints.asked import QUESTION
from tests.checkpoints.variants import STOCK_PREFIX, Tensors, save_variant
from tests.weight_values import values

Q = f"{STOCK_PREFIX}layers.0.self_attn.q_proj"

BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


def same(tensors: Tensors) -> Tensors:
    return tensors


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "fp8"])
def test_a_block_that_is_out_of_date(method: str, tmp_path: Path) -> None:
    """A model that was loaded in 4 bits, merged, and saved as float."""
    folder = save_variant(tmp_path, same, {"quantization_config": BNB | {"quant_method": method}})
    checkpoint = open_checkpoint(folder)
    (note,) = checkpoint.notes()
    assert f"config.json says that {method} packed the weights; they are float: ignored" in note
    ours, stock = values(checkpoint, None), values(open_checkpoint(TINY_TARGET), None)
    assert all(np.array_equal(ours[name], stock[name]) for name in stock)


@pytest.mark.slow
def test_transformers_is_told_to_ignore_it(plain: Golden, tmp_path: Path) -> None:
    """Which would otherwise ask for bitsandbytes."""
    folder = save_variant(tmp_path, same, {"quantization_config": BNB})
    ours = ask(open_checkpoint(folder), None, QUESTION, 2).arrays
    assert ours.keys() == plain.arrays.keys()
    assert all(np.array_equal(ours[name], plain.arrays[name]) for name in ours)


PACKED: dict[str, tuple[dict[str, Any], dict[str, Tensor], list[str]]] = {
    "bitsandbytes": (
        {"quantization_config": BNB},
        {f"{Q}.weight": torch.zeros(99, 1, dtype=torch.uint8), f"{Q}.weight.absmax": torch.ones(9)},
        ["bitsandbytes", "load_in_4bit", "--lora"],
    ),
    "compressed-tensors": (
        {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}},
        {f"{Q}.weight_packed": torch.zeros(9, 4, dtype=torch.int32), f"{Q}.weight_scale": torch.ones(9, 1)},
        ["compressed-tensors", "-qat-q4_0-unquantized"],
    ),
    "gptq": (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {f"{Q}.qweight": torch.zeros(9, 4, dtype=torch.int32), f"{Q}.g_idx": torch.zeros(9)},
        ["gptq", "float checkpoint"],
    ),
    "fp8": (
        {"quantization_config": {"quant_method": "fp8"}},
        {f"{Q}.weight": torch.zeros(9, 4).to(torch.float8_e4m3fn)},
        ["fp8", "F8_E4M3"],
    ),
    "of an unknown kind": (
        {"quantization_config": {"quant_method": "exl3", "bits": 3.0}},
        {f"{Q}.trellis": torch.zeros(9, 4, dtype=torch.int16), f"{Q}.suh": torch.zeros(9, dtype=torch.half)},
        ["exl3", "trellis is I16", "float checkpoint"],
    ),
    "in the text's configuration": (
        {"text_config": {"quantization_config": {"quant_method": "awq"}}},
        {f"{Q}.qweight": torch.zeros(9, 4, dtype=torch.int32)},
        ["awq", "float checkpoint"],
    ),
    "MLX": (
        {"quantization": {"group_size": 64, "bits": 4}},
        {f"{Q}.weight": torch.zeros(9, 4, dtype=torch.uint32), f"{Q}.scales": torch.ones(9, 1)},
        ["mlx", "float checkpoint"],
    ),
    "no block": ({}, {f"{Q}.qweight": torch.zeros(9, 4, dtype=torch.int32)}, ["gptq"]),
}  # fmt: skip


@pytest.mark.parametrize(("config", "tensors", "said"), PACKED.values(), ids=PACKED)
def test_packed_weights_are_refused_by_name(
    config: dict[str, Any], tensors: dict[str, Tensor], said: list[str], tmp_path: Path
) -> None:
    folder = save_variant(tmp_path, lambda stock: stock | tensors, config)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    for part in ("the weights are packed by", "layers.0.self_attn.q_proj", *said):
        assert part in str(caught.value)


def test_a_packed_tower_is_no_matter(tmp_path: Path) -> None:
    """Towers are not exported, so what they are packed as is not asked."""
    tower = {"model.vision_tower.layers.0.q_proj.weight_packed": torch.zeros(9, 4)}
    block = {"quantization_config": {"quant_method": "compressed-tensors"}}
    assert open_checkpoint(save_variant(tmp_path, lambda stock: stock | tower, block)).notes()
