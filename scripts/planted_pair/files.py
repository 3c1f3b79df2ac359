"""Safetensors checkpoints written a block at a time. Knows the format; not what is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARD_BYTES = 4_000_000_000
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class MadeTensor:
    """A tensor and how to make its elements, in order; `dtype` is BF16 (as bits) or I64."""

    name: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[NDArray[Any]]]
    dtype: str = "BF16"

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape) * {"BF16": 2, "I64": 8}[self.dtype]


def write_checkpoint(folder: Path, tensors: list[MadeTensor]) -> int:
    """Write one file, or numbered shards with their index; returns the bytes of all tensors."""
    shards = _shards(tensors)
    count = len(shards)
    names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    if count == 1:
        names = ["model.safetensors"]
    total = sum(tensor.nbytes for tensor in tensors)
    for name, shard in zip(names, shards, strict=True):
        _write_shard(folder / name, shard)
    if count > 1:
        places = {t.name: name for name, shard in zip(names, shards, strict=True) for t in shard}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    return total


def _shards(tensors: list[MadeTensor]) -> list[list[MadeTensor]]:
    """Fill shards in order; a tensor is never split."""
    shards: list[list[MadeTensor]] = [[]]
    for tensor in tensors:
        if shards[-1] and sum(t.nbytes for t in shards[-1]) + tensor.nbytes > SHARD_BYTES:
            shards.append([])
        shards[-1].append(tensor)
    return shards


def _write_shard(path: Path, tensors: list[MadeTensor]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        offsets = [end, end := end + tensor.nbytes]
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 8)
    with path.open("wb") as stream:
        stream.write(len(packed).to_bytes(8, "little") + packed)
        for tensor in tensors:
            _write_tensor(stream.write, tensor)


def _write_tensor(write: Callable[[Any], int], tensor: MadeTensor) -> None:
    item = np.dtype({"BF16": "<u2", "I64": "<i8"}[tensor.dtype])
    written = 0
    for block in tensor.blocks():
        written += write(np.ascontiguousarray(block, item).data.cast("B"))
    if written != tensor.nbytes:
        raise ValueError(f"{tensor.name}: {written} bytes made, {tensor.nbytes} expected")
