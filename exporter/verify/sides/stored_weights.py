"""The weights as a bundle stores them, read back: codes and scales out of its graphs.

What comes out is float32 rows, the values that the codes stand for. Knows the layouts that ``bind``
writes and refuses others by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.graph_reader import GraphReader
from exporter.bundle.model_tables import BufferTable, ModelTables, SubgraphTables, TensorTable
from exporter.bundle.reader import Bundle
from exporter.contract.names import Section
from exporter.errors import BundleError
from exporter.litertlm.constant import SCALES_SUFFIX
from exporter.weights.audio import AudioLayout
from exporter.weights.vision import VisionLayout
from quantize.arrays import QuantisedRows, dequantize_rows, unpack

Floats = NDArray[np.float32]


class UnreadableWeightError(BundleError):
    """A weight is stored in a layout that this module does not know, or not at all."""


PREFIXES = ("target.", "drafter.", VisionLayout.recipe_prefix, AudioLayout.recipe_prefix)
"""Of the names of weights."""

READABLE = {"float32": 32, "int32": 32, "int8": 8, "int4": 4, "int2": 2}
"""Bits of the element types that can be read back."""


@dataclass(frozen=True)
class StoredConstant:
    """One weight of a graph: its bytes and, if quantised, scales ``[R, n]``, n of them per row."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8]
    scales: Floats

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def row_length(self) -> int:
        return self.shape[-1]

    @property
    def quantised(self) -> bool:
        return bool(self.scales.size)

    @property
    def bits(self) -> int:
        return READABLE[self.dtype]

    def floats(self, start: int, count: int) -> Floats:
        """Values of rows ``start`` to ``start + count``, ``[count, C]``."""
        if not self.quantised:
            return self._elements(start, count).view("<f4").reshape(count, self.row_length)
        codes = unpack(self._elements(start, count).tobytes(), self.bits, (count, self.row_length))
        return dequantize_rows(QuantisedRows(codes, self.scales[start : start + count]))

    def integers(self) -> NDArray[np.int32]:
        """An integer table, in its shape."""
        return self._elements(0, self.rows).view("<i4").reshape(self.shape)

    def _elements(self, start: int, count: int) -> NDArray[np.uint8]:
        row_bytes = self.row_length * self.bits // 8
        return self.data[start * row_bytes : (start + count) * row_bytes]


StoredConstants = dict[Section, dict[str, StoredConstant]]
"""The weights of each section by the name that recipes match."""


def stored_constants(bundle: Bundle) -> StoredConstants:
    """Every named weight of every model section; the file stays mapped while one of them lives.

    Raises:
        UnreadableWeightError: A weight is stored in a layout that cannot be read back.
    """
    view = np.memmap(bundle.path, np.uint8, mode="r")
    found = {}
    for section in Section:
        if (entry := bundle.model(section)) is not None:
            content = view[entry.begin : entry.end]
            found[section] = _constants(content, f"{bundle.path}: {section.value}")
    return found


def find_constant(stored: StoredConstants, section: Section, name: str) -> StoredConstant:
    """The weight of a section with this name.

    Raises:
        UnreadableWeightError: There is none.
    """
    if (found := stored.get(section, {}).get(name)) is None:
        raise UnreadableWeightError(f"{section.value}: expected a weight {name}, found none")
    return found


def _constants(content: NDArray[np.uint8], where: str) -> dict[str, StoredConstant]:
    model = GraphReader(content.data, where).model
    found: dict[str, StoredConstant] = {}
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            name = tensor.name
            wanted = name.startswith(PREFIXES) and not name.endswith(SCALES_SUFFIX)
            if not wanted or name in found:
                continue
            data = _data(model.buffer(tensor.buffer), content)
            if data is not None:
                scales = _scales(model, subgraph, tensor, content)
                found[name] = _constant(tensor, name, data, scales, where)
    return found


def _data(buffer: BufferTable, content: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """A buffer's bytes, inside the flatbuffer or behind it; None for an activation."""
    if buffer.behind:
        return content[buffer.offset : buffer.offset + buffer.nbytes]
    return buffer.data if buffer.nbytes else None


def _scales(
    model: ModelTables, subgraph: SubgraphTables, tensor: TensorTable, content: NDArray[np.uint8]
) -> Floats:
    """All scales of a tensor, row by row; none if it has none."""
    quantization = tensor.quantization
    if quantization is None:
        return np.empty(0, np.float32)
    if (blocks := quantization.blocks) is not None:
        scales = subgraph.tensor(int(blocks.number(0, "<i")))
        data = _data(model.buffer(scales.buffer), content)
        return np.empty(0, np.float32) if data is None else _halves(data).astype(np.float32)
    return np.array(quantization.scales, np.float32)


def _halves(data: NDArray[np.uint8]) -> NDArray[np.float16]:
    return data[: data.nbytes // 2 * 2].view("<f2")


def _constant(
    tensor: TensorTable, name: str, data: NDArray[np.uint8], scales: Floats, where: str
) -> StoredConstant:
    dtype, shape = tensor.dtype, tuple(tensor.sizes.tolist())
    rows, codes = math.prod(shape[:-1]), dtype in ("int8", "int4", "int2")
    known = dtype in READABLE and len(shape) > 0 and min(shape) > 0 and bool(scales.size) == codes
    per_row = scales.size // rows if known else 0
    if (
        not known
        or per_row * rows != scales.size
        or shape[-1] % (per_row or 1)
        or data.nbytes < rows * (shape[-1] * READABLE[dtype] // 8)
    ):
        raise UnreadableWeightError(
            f"{where}: {name} is stored as {dtype} {list(shape)} in {data.nbytes} bytes with {scales.size} "
            "scales, a layout this command cannot read back (it knows float32, int8, int4 and int2 per row, "
            "and int4 in blocks)"
        )
    return StoredConstant(name, dtype, shape, data, scales.reshape(rows, per_row))
