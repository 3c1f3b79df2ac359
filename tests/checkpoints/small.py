"""Checkpoints of two small tensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from exporter.checkpoints.checkpoint import (
    Checkpoint,
)
from exporter.checkpoints.tensors.stored_tensor import INDEX, SINGLE
from exporter.checkpoints.tensors.tensor_reader import TensorReader

TENSORS = {
    "a.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "b.weight": torch.arange(6, dtype=torch.float32),
}


def write(folder: Path, tensors: dict[str, Tensor] = TENSORS) -> Path:
    """A checkpoint in a single file."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "gemma4"}')
    save_file(tensors, folder / SINGLE)
    return folder


def write_sharded(folder: Path) -> Path:
    """Those tensors, each in a shard of its own, with the index that names them."""
    write(folder)
    (folder / SINGLE).unlink()
    weight_map = {}
    for number, (name, tensor) in enumerate(TENSORS.items(), 1):
        shard = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensor}, folder / shard)
        weight_map[name] = shard
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def floats(checkpoint: Checkpoint, name: str) -> NDArray[np.float32]:
    tensor = checkpoint.tensors[name]
    with TensorReader() as reader:
        return reader.floats(tensor, 0, int(np.prod(tensor.shape))).reshape(tensor.shape)
