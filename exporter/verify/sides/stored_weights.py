"""The weights as a bundle stores them, read back: codes and scales out of its graphs.

What comes out is float32 rows, the values that the codes stand for. Knows the layouts that ``bind``
writes and refuses others by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.graph_reader import TYPE_NAMES, GraphReader, block_quantization
from exporter.bundle.reader import Bundle
from exporter.contract.names import Section
from exporter.errors import BundleError
from exporter.litertlm.constant import SCALES_SUFFIX
from exporter.weights.audio import AudioLayout
from exporter.weights.vision import VisionLayout
from quantize.arrays import QuantisedRows, dequantize_rows, unpack

Floats = NDArray[np.float32]


class UnreadableWeightError(BundleError):
    """A weight is stored in a layout that this module does not know."""


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


Constants = Mapping[str, StoredConstant]
"""The weights of one section by the name that recipes match."""


StoredConstants = dict[Section, dict[str, StoredConstant]]


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


def _constants(content: NDArray[np.uint8], where: str) -> dict[str, StoredConstant]:
    reader = GraphReader(content.data, where)
    found: dict[str, StoredConstant] = {}
    for index in range(reader.model.SubgraphsLength()):
        subgraph = reader.model.Subgraphs(index)
        for position in range(subgraph.TensorsLength()):
            tensor = subgraph.Tensors(position)
            name = tensor.Name().decode()
            wanted = name.startswith(PREFIXES) and not name.endswith(SCALES_SUFFIX)
            if not wanted or name in found:
                continue
            data = _data(reader.model.Buffers(tensor.Buffer()), content)
            if data is not None:
                scales = _scales(reader.model, subgraph, tensor, content)
                found[name] = _constant(tensor, name, data, scales, where)
    reader.release()
    return found


def _data(buffer: Any, content: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """A buffer's bytes, inside the flatbuffer or behind it; None for an activation."""
    if buffer.Offset() > 1:
        return content[buffer.Offset() : buffer.Offset() + buffer.Size()]
    return buffer.DataAsNumpy() if buffer.DataLength() else None


def _scales(model: Any, subgraph: Any, tensor: Any, content: NDArray[np.uint8]) -> Floats:
    """Scales ``[R, n]`` of a tensor, ``[R, 0]`` if it has none."""
    quantization, rows = tensor.Quantization(), math.prod(tensor.ShapeAsNumpy()[:-1])
    if quantization is None:
        return np.empty((rows, 0), np.float32)
    if (details := block_quantization(quantization)) is not None:
        data = _data(model.Buffers(subgraph.Tensors(details.Scales()).Buffer()), content)
        assert data is not None
        return data.view("<f2").astype(np.float32).reshape(rows, -1)
    if not quantization.ScaleLength():
        return np.empty((rows, 0), np.float32)
    return np.array(quantization.ScaleAsNumpy(), np.float32).reshape(rows, -1)


def _constant(
    tensor: Any, name: str, data: NDArray[np.uint8], scales: Floats, where: str
) -> StoredConstant:
    dtype = TYPE_NAMES[tensor.Type()]
    shape = tuple(int(n) for n in tensor.ShapeAsNumpy())
    constant = StoredConstant(name, dtype, shape, data, scales)
    codes = dtype in ("int8", "int4", "int2")
    groups_fit = not constant.quantised or shape[-1] % scales.shape[1] == 0
    if dtype not in READABLE or constant.quantised != codes or not groups_fit:
        raise UnreadableWeightError(
            f"{where}: {name} is stored as {dtype} {list(shape)} with {scales.size} scales, a layout "
            "this command cannot read back (it knows float32, int8, int4 and int2 per row, and int4 "
            "in blocks)"
        )
    return constant
