"""Reading an ONNX folder without this project's code: what its initializers refer to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

CODES = {"MatMulNBits": 1, "GatherBlockQuantized": 0}
"""Operators on codes, with the number of the input that holds them."""

SCALES = 2
"""Number of the input that holds the scales, in both."""

TYPES: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.INT32: np.int32,
    TensorProto.UINT8: np.uint8,
}


@dataclass(frozen=True)
class External:
    """An initializer in external data."""

    name: str
    dtype: int
    dims: tuple[int, ...]
    file: str
    offset: int
    length: int


def external(model: onnx.ModelProto) -> dict[str, External]:
    """Every initializer that lies in a file of its own, by name."""
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            where = {entry.key: entry.value for entry in tensor.external_data}
            found[tensor.name] = External(
                tensor.name,
                tensor.data_type,
                tuple(tensor.dims),
                where["location"],
                int(where["offset"]),
                int(where["length"]),
            )
    return found


def models(folder: Path) -> dict[str, onnx.ModelProto]:
    """Every model of a folder, without its weights."""
    return {
        path.stem: onnx.load(str(path), load_external_data=False)
        for path in sorted(folder.glob("*.onnx"))
    }


def array(folder: Path, entry: External) -> NDArray[Any]:
    """The elements of an initializer, flat."""
    with (folder / entry.file).open("rb") as stream:
        stream.seek(entry.offset)
        return np.frombuffer(stream.read(entry.length), TYPES[entry.dtype])


def stored_values(folder: Path) -> dict[str, NDArray[Any]]:
    """The values that every weight stands for: as it is, or ``(code - middle) * scale``; flat."""
    found: dict[str, NDArray[Any]] = {}
    for model in models(folder).values():
        entries = external(model)
        scales = {name for node in model.graph.node for name in _scales(node)}
        for name, entry in entries.items():
            if name not in scales and entry.dtype != TensorProto.UINT8:
                found[name] = array(folder, entry)
        for node in model.graph.node:
            if node.op_type in CODES:
                codes = entries[node.input[CODES[node.op_type]]]
                (scale,) = _scales(node)
                found[codes.name] = _decoded(folder, node, codes, entries[scale])
    return found


def _scales(node: onnx.NodeProto) -> list[str]:
    return [node.input[SCALES]] if node.op_type in CODES else []


def _decoded(
    folder: Path, node: onnx.NodeProto, codes: External, scales: External
) -> NDArray[np.float32]:
    attributes = {entry.name: entry.i for entry in node.attribute}
    bits, block = attributes["bits"], attributes["block_size"]
    packed = array(folder, codes)
    shifts = range(0, 8, bits)
    unsigned = np.stack([(packed >> shift) & (2**bits - 1) for shift in shifts], axis=-1)
    signed = unsigned.reshape(-1, block).astype(np.float32) - 2 ** (bits - 1)
    assert signed.size == math.prod(scales.dims) * block
    values: NDArray[np.float32] = signed * array(folder, scales)[:, None]
    return values.ravel()
