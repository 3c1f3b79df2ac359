"""A weight as a constant of a graph: its tensors, its buffers behind the flatbuffer, its scales.

Scales of rows are in the flatbuffer. Scales of blocks are a float16 tensor ``[R, C / block]`` in every
subgraph that uses the weight, with one buffer, which follows the weight's.

Source: TensorFlow Lite's ``schema.fbs`` (``Buffer.offset``, ``Buffer.size``, ``BlockwiseQuantization``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.contract.names import Dtype
from exporter.progress import Advance
from exporter.weights.matching import Weight
from exporter.weights.storing import StoredWeight, stored_blocks
from quantize.recipe import Rule

ALIGNMENT = 64
"""Of every weight within its section; sections begin on 16 KiB, so mapped weights are aligned too."""

SCALES_SUFFIX = ".scales"
"""Of the tensor that holds the scales of a weight's blocks."""

TENSOR_TYPES = {
    32: schema.TensorType.FLOAT32,
    8: schema.TensorType.INT8,
    4: schema.TensorType.INT4,
    2: schema.TensorType.INT2,
}
"""By bits of an element."""

NO_TENSOR = -1
"""Instead of zero points: they are all 0."""


class SharedQuantization(schema.QuantizationParametersT):  # type: ignore[misc]
    """Scales of one weight, packed once however many signatures use it.

    Zero points are all 0, but a kernel may ask for as many as there are scales.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.scale = np.ones(rows, np.float32)
        self.zeroPoint = np.zeros(rows, np.int64)
        self.quantizedDimension = 0
        self._packed: tuple[Any, int] | None = None  # (builder, offset in it)

    def Pack(self, builder: Any) -> int:  # noqa: N802 (the name is the generated API's)
        """Offset of this table in ``builder``, which holds it once."""
        if self._packed is None or self._packed[0] is not builder:
            self._packed = (builder, super().Pack(builder))
        return self._packed[1]


@dataclass(frozen=True)
class PlacedBuffer:
    """A buffer behind the flatbuffer, with its number."""

    buffer: Any
    index: int

    def write(self, stream: BinaryIO, position: int, data: Iterator[bytes]) -> int:
        """Append ``data`` at ``position``, padded to :data:`ALIGNMENT`; returns the end."""
        written = sum(map(stream.write, data))
        self.buffer.offset, self.buffer.size = position, written
        padding = -written % ALIGNMENT
        stream.write(b"\0" * padding)
        return position + written + padding

    def refer_to(self, other: PlacedBuffer, start: int) -> None:
        """Point to the bytes of ``other``, whose graph begins ``start`` bytes behind this one."""
        self.buffer.offset, self.buffer.size = start + other.buffer.offset, other.buffer.size


class Constant:
    """A weight while it is being written: its tensors in the graph, its buffers, its scales."""

    def __init__(
        self, weight: Weight, rule: Rule | None, new_buffer: Callable[[], PlacedBuffer]
    ) -> None:
        self.weight = weight
        self.rule = rule  # None: an integer table, stored as int32
        self.data = new_buffer()
        self.block = rule.storage.block if rule else None
        self.block_scales = new_buffer() if self.block else None
        self.row_scales: Any = None
        self.scale_table: PlacedBuffer | None = None  # the row scales once more, as a tensor
        if rule and rule.storage.quantised and not self.block:
            self.row_scales = SharedQuantization(weight.rows)

    @property
    def stored(self) -> StoredWeight:
        """How the weight was stored, once it has been written."""
        storage = Dtype.INT32.value if self.rule is None else self.rule.storage.value
        return StoredWeight(self.weight.name, storage, self.data.buffer.size)

    def attach(self, tensor: Any, subgraph: Any) -> None:
        """Make one subgraph's tensor refer to this constant."""
        tensor.name = self.weight.name.encode()
        tensor.buffer = self.data.index
        if self.rule is not None:
            tensor.type = TENSOR_TYPES[self.rule.storage.bits]
        tensor.quantization = self.row_scales
        if self.block_scales is not None:
            tensor.quantization = self._blocks(self.block_scales, subgraph)

    def _blocks(self, scales: PlacedBuffer, subgraph: Any) -> Any:
        assert self.block is not None
        tensor = schema.TensorT()
        tensor.name = (self.weight.name + SCALES_SUFFIX).encode()
        tensor.shape = np.array([self.weight.rows, self.weight.row_length // self.block], np.int32)
        tensor.type = schema.TensorType.FLOAT16
        tensor.buffer, tensor.hasRank = scales.index, True
        subgraph.tensors.append(tensor)
        quantization = schema.QuantizationParametersT()
        quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        quantization.details = schema.BlockwiseQuantizationT()
        quantization.details.scales = len(subgraph.tensors) - 1
        quantization.details.zeroPoints = NO_TENSOR
        quantization.details.blockSize = self.block
        return quantization

    def write(self, stream: BinaryIO, position: int, progress: Advance) -> int:
        """Append the weight's bytes at ``position``; returns where they end."""
        if self.rule is None:
            data = self.weight.ordering().tobytes()
            progress(self.weight.tensor.nbytes)
            return self.data.write(stream, position, iter([data]))
        scales: list[NDArray[Any]] = []
        position = self.data.write(stream, position, self._packed(self.rule, scales, progress))
        if self.row_scales is not None:
            self.row_scales.scale = np.concatenate(scales).reshape(-1)
        if self.scale_table is not None:
            table = iter([self.row_scales.scale.astype("<f4").tobytes()])
            position = self.scale_table.write(stream, position, table)
        if self.block_scales is not None:
            position = self.block_scales.write(stream, position, (s.tobytes() for s in scales))
        return position

    def refer_to(self, other: Constant, start: int) -> None:
        """Point to what ``other`` has written of this weight; its graph begins ``start`` bytes behind."""
        pairs = (
            (self.data, other.data),
            (self.block_scales, other.block_scales),
            (self.scale_table, other.scale_table),
        )
        for own, written in pairs:
            if own is not None:
                assert written is not None
                own.refer_to(written, start)
        if self.row_scales is not None:
            self.row_scales.scale = other.row_scales.scale

    def _packed(self, rule: Rule, scales: list[NDArray[Any]], progress: Advance) -> Iterator[bytes]:
        """Bytes of the rows, some at a time; their scales, as stored, are added to ``scales``."""
        for stored in stored_blocks(self.weight, rule):
            scales.append(stored.scales.astype("<f2") if self.block else stored.scales)
            progress(self.weight.tensor.nbytes * stored.rows // self.weight.rows)
            yield stored.data
