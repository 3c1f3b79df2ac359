"""Turning the weight inputs of a lowered graph into constants, their bytes streamed behind it.

The edit: a weight's tensor gets a buffer, an element type and, if quantised, its scales; it leaves
the inputs of its subgraph and signature; all signatures share one buffer per weight. Buffers lie
after the flatbuffer and are found by offset and size, so a file may pass 2 GB and bytes can be
written as they are made.

Scales are inside the flatbuffer, in front of the bytes they come from. So the flatbuffer is packed
twice: first with placeholders, which fixes its length, and again when all scales are known.

Source: TensorFlow Lite's ``schema.fbs`` (``Buffer.offset``, ``Buffer.size``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.contract import Dtype, TensorSpec
from exporter.errors import LoweringError, RecipeError
from exporter.lower import WEIGHT_PREFIX
from exporter.merge import FILE_IDENTIFIER
from exporter.weights import Weight
from quantize.arrays import store_rows
from quantize.recipe import Recipe, Storage

ALIGNMENT = 64
"""Of every weight within its section; sections begin on 16 KiB, so mapped weights are aligned too."""

SCALE_BYTES = 12
"""Of one row: a float32 scale and an int64 zero point."""

TABLE_BYTES = 512
"""Allowance for what one more buffer and its quantisation table add to the flatbuffer."""

TENSOR_TYPES = {
    Storage.FLOAT32: schema.TensorType.FLOAT32,
    Storage.INT8: schema.TensorType.INT8,
    Storage.INT4: schema.TensorType.INT4,
}

DTYPES = {
    schema.TensorType.FLOAT32: Dtype.FLOAT32,
    schema.TensorType.INT32: Dtype.INT32,
    schema.TensorType.BOOL: Dtype.BOOL,
}

Progress = Callable[[int], None]
"""Told how many bytes of a checkpoint have been read since the last call."""


@dataclass(frozen=True)
class StoredWeight:
    """How one weight was stored; the manifest lists these."""

    name: str
    storage: str
    nbytes: int


class LoweredGraph:
    """A flatbuffer whose weights are graph inputs, parsed."""

    def __init__(self, graph: bytes) -> None:
        self.model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(graph, 0))

    def weight_specs(self) -> dict[str, TensorSpec]:
        """Shapes and types of the weights, by parameter name.

        Raises:
            LoweringError: Two signatures want the same parameter in different shapes.
        """
        specs: dict[str, TensorSpec] = {}
        for name, tensor in self._weight_tensors():
            spec = TensorSpec(tuple(int(n) for n in tensor.shape), DTYPES[tensor.type])
            if specs.setdefault(name, spec) != spec:
                raise LoweringError(f"{name} enters the graph as {specs[name]} and as {spec}")
        return specs

    def _weight_tensors(self) -> list[tuple[str, Any]]:
        return [
            (name, self.model.subgraphs[signature.subgraphIndex].tensors[entry.tensorIndex])
            for signature in self.model.signatureDefs
            for entry in signature.inputs
            if (name := parameter_name(entry.name)) is not None
        ]

    def make_constants(self, weights: Mapping[str, Weight], recipe: Recipe) -> dict[str, Constant]:
        """Edit the graph: every weight input becomes a constant with a buffer of its own."""
        constants = {}
        for name, weight in weights.items():
            buffer = schema.BufferT()
            buffer.offset = buffer.size = 1  # any non-default value: the fields must exist
            self.model.buffers.append(buffer)
            constants[name] = Constant(weight, choose_storage(weight, recipe), buffer)
            constants[name].buffer_index = len(self.model.buffers) - 1
        for name, tensor in self._weight_tensors():
            constants[name].attach(tensor)
        for signature in self.model.signatureDefs:
            subgraph = self.model.subgraphs[signature.subgraphIndex]
            gone = {e.tensorIndex for e in signature.inputs if parameter_name(e.name) is not None}
            signature.inputs = [e for e in signature.inputs if e.tensorIndex not in gone]
            subgraph.inputs = np.array([i for i in subgraph.inputs if i not in gone], np.int32)
        return constants

    def pack(self) -> bytes:
        """The flatbuffer, padded to :data:`ALIGNMENT`."""
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), FILE_IDENTIFIER)
        packed = bytes(builder.Output())
        return packed + b"\0" * (-len(packed) % ALIGNMENT)


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


class Constant:
    """A weight while it is being written: its tensors in the graph, its buffer, its scales."""

    def __init__(self, weight: Weight, storage: Storage | None, buffer: Any) -> None:
        self.weight = weight
        self.storage = storage  # None: an integer table, stored as int32
        self.buffer = buffer
        self.buffer_index = 0
        self.quantization: Any = None
        if storage in (Storage.INT8, Storage.INT4):
            self.quantization = SharedQuantization(weight.rows)

    def attach(self, tensor: Any) -> None:
        """Make one subgraph's tensor refer to this constant."""
        tensor.name = self.weight.name.encode()
        tensor.buffer = self.buffer_index
        if self.storage is not None:
            tensor.type = TENSOR_TYPES[self.storage]
        tensor.quantization = self.quantization

    def write(self, stream: BinaryIO, position: int, progress: Progress) -> int:
        """Append the weight's bytes; returns how many there are."""
        if self.storage is None:
            data = self.weight.ordering().tobytes()
            stream.write(data)
            progress(self.weight.tensor.nbytes)
            written = len(data)
        else:
            written = self._write_rows(stream, self.storage, progress)
        self.buffer.offset, self.buffer.size = position, written
        return written

    def _write_rows(self, stream: BinaryIO, storage: Storage, progress: Progress) -> int:
        scales: list[NDArray[np.float32]] = []
        written = 0
        for rows in self.weight.blocks():
            stored = store_rows(rows, storage)
            stream.write(stored.data)
            scales.append(stored.scales)
            written += len(stored.data)
            progress(rows.size * self.weight.tensor.itemsize)
        if self.quantization is not None:
            self.quantization.scale = np.concatenate(scales)
        return written


def bind(
    graph: bytes,
    weights: Mapping[str, Weight],
    recipe: Recipe,
    stream: BinaryIO,
    progress: Progress = lambda _: None,
) -> list[StoredWeight]:
    """Write a graph and its weights to ``stream``, from its current position (taken as 0).

    Args:
        graph: A flatbuffer from ``lower``.
        weights: A weight for every parameter of the graph.
        recipe: How each is stored.
        stream: Seekable binary file, positioned at its start.
        progress: Told of the checkpoint's bytes as they are read.

    Raises:
        RecipeError: A storage does not fit a weight.
        CheckpointError: A weight has NaN or infinite values, or cannot be read.
        LoweringError: The packed graph changed its length, which would shift every weight.
    """
    lowered = LoweredGraph(graph)
    constants = lowered.make_constants(weights, recipe)
    head = len(lowered.pack())
    stream.seek(head)
    position, stored = head, []
    for name, constant in constants.items():
        written = constant.write(stream, position, progress)
        storage = Dtype.INT32.value if constant.storage is None else constant.storage.value
        stored.append(StoredWeight(weights[name].name, storage, written))
        padding = -written % ALIGNMENT
        stream.write(b"\0" * padding)
        position += written + padding
    packed = lowered.pack()
    if len(packed) != head:
        raise LoweringError(f"the graph is {len(packed)} bytes with its scales, {head} without")
    stream.seek(0)
    stream.write(packed)
    stream.seek(position)
    return stored


def stored_size(graph: bytes, weights: Mapping[str, Weight], recipe: Recipe) -> int:
    """Upper bound of the bytes :func:`bind` will write, for a check of free space beforehand."""
    total = len(graph)
    for weight in weights.values():
        storage = choose_storage(weight, recipe)
        bits = 32 if storage is None else storage.bits
        total += (
            weight.rows * (weight.row_length * bits // 8 + SCALE_BYTES)
            + 2 * ALIGNMENT
            + TABLE_BYTES
        )
    return total


def choose_storage(weight: Weight, recipe: Recipe) -> Storage | None:
    """What the recipe says of a weight; None for an integer table.

    Raises:
        RecipeError: int4 for rows of odd length.
    """
    if weight.spec.dtype is not Dtype.FLOAT32:
        return None
    storage = recipe.storage(weight.name) if weight.is_matrix else Storage.FLOAT32
    if storage is Storage.INT4 and weight.row_length % 2:
        raise RecipeError(
            f"recipe {recipe.name}: {weight.name} has rows of {weight.row_length} elements, and int4 "
            "needs an even number; give it int8"
        )
    return storage


def parameter_name(graph_input: bytes | str) -> str | None:
    """The parameter that a graph input stands for; None for a real input."""
    name = graph_input.decode() if isinstance(graph_input, bytes) else graph_input
    return name.removeprefix(WEIGHT_PREFIX) if name.startswith(WEIGHT_PREFIX) else None
