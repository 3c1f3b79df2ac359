"""Turning the weight inputs of a lowered graph into constants, their bytes streamed behind it.

The edit: a weight's tensor gets a buffer, an element type and, if quantised, its scales; it leaves
the inputs of its subgraph and signature; all signatures share one buffer per weight. Buffers lie
after the flatbuffer and are found by offset and size, so a file may pass 2 GB and bytes can be
written as they are made.

One scale per row is inside the flatbuffer, in front of the bytes it comes from. So the flatbuffer is
packed twice: first with placeholders, which fixes its length, and again when all scales are known.
Scales of blocks are a float16 tensor ``[R, C / block]`` in every subgraph that uses the weight, with
one buffer, which follows the weight's.

Source: TensorFlow Lite's ``schema.fbs`` (``Buffer.offset``, ``Buffer.size``, ``BlockwiseQuantization``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.binding.lookups import bulk_lookups, split_lookup
from exporter.binding.weights import Weight
from exporter.contract import WEIGHT_PREFIX, Dtype, TensorSpec
from exporter.errors import LoweringError, RecipeError
from exporter.lowering.merge import FILE_IDENTIFIER
from exporter.progress import Advance
from quantize.arrays import StoredRows, store_rows
from quantize.recipe import UNQUANTISED, Recipe, Rule
from quantize.storage import Storage

ALIGNMENT = 64
"""Of every weight within its section; sections begin on 16 KiB, so mapped weights are aligned too."""

SCALE_BYTES = 16
"""Of one row: a float32 scale and an int64 zero point, and the scale again where it is a table."""

BLOCK_SCALE_BYTES = 2
"""Of one block: a float16."""

TABLE_BYTES = 512
"""Allowance for what one more buffer and its quantisation table, or one more tensor, add to the
flatbuffer."""

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

DTYPES = {
    schema.TensorType.FLOAT32: Dtype.FLOAT32,
    schema.TensorType.INT32: Dtype.INT32,
    schema.TensorType.BOOL: Dtype.BOOL,
}


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
        for name, tensor, _ in self._weight_tensors():
            spec = TensorSpec(tuple(int(n) for n in tensor.shape), DTYPES[tensor.type])
            if specs.setdefault(name, spec) != spec:
                raise LoweringError(f"{name} enters the graph as {specs[name]} and as {spec}")
        return specs

    def uses(self) -> Counter[str]:
        """How many subgraphs take each weight, by parameter name."""
        return Counter(name for name, *_ in self._weight_tensors())

    def _weight_tensors(self) -> list[tuple[str, Any, Any]]:
        """Name, tensor and subgraph of every use of a weight."""
        return [
            (name, subgraph.tensors[entry.tensorIndex], subgraph)
            for signature in self.model.signatureDefs
            for subgraph in (self.model.subgraphs[signature.subgraphIndex],)
            for entry in signature.inputs
            if (name := parameter_name(entry.name)) is not None
        ]

    def make_constants(self, weights: Mapping[str, Weight], recipe: Recipe) -> dict[str, Constant]:
        """Edit the graph: every weight input becomes a constant with a buffer of its own."""
        constants = {
            name: Constant(weight, choose_rule(weight, recipe), self._new_buffer)
            for name, weight in weights.items()
        }
        for name, tensor, subgraph in self._weight_tensors():
            constants[name].attach(tensor, subgraph)
            self._split_lookups(constants[name], tensor, subgraph)
        for signature in self.model.signatureDefs:
            subgraph = self.model.subgraphs[signature.subgraphIndex]
            gone = {e.tensorIndex for e in signature.inputs if parameter_name(e.name) is not None}
            signature.inputs = [e for e in signature.inputs if e.tensorIndex not in gone]
            subgraph.inputs = np.array([i for i in subgraph.inputs if i not in gone], np.int32)
        return constants

    def _split_lookups(self, constant: Constant, tensor: Any, subgraph: Any) -> None:
        """Lookups of many rows read a table's codes and scales apart; see ``exporter.binding.lookups``."""
        if tensor.type != schema.TensorType.INT8 or constant.row_scales is None:
            return
        table = next(i for i, other in enumerate(subgraph.tensors) if other is tensor)
        for lookup in bulk_lookups(subgraph, table, self.model.operatorCodes):
            if constant.scale_table is None:
                constant.scale_table = self._new_buffer()
            split_lookup(self.model, subgraph, lookup, constant.scale_table.index)

    def _new_buffer(self) -> Placed:
        buffer = schema.BufferT()
        buffer.offset = buffer.size = 1  # any non-default value: the fields must exist
        self.model.buffers.append(buffer)
        return Placed(buffer, len(self.model.buffers) - 1)

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


@dataclass(frozen=True)
class Placed:
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

    def refer_to(self, other: Placed, start: int) -> None:
        """Mean the bytes of ``other``, whose graph begins at byte ``start`` seen from this one."""
        self.buffer.offset, self.buffer.size = start + other.buffer.offset, other.buffer.size


class Constant:
    """A weight while it is being written: its tensors in the graph, its buffers, its scales."""

    def __init__(self, weight: Weight, rule: Rule | None, new_buffer: Callable[[], Placed]) -> None:
        self.weight = weight
        self.rule = rule  # None: an integer table, stored as int32
        self.data = new_buffer()
        self.block = rule.storage.block if rule else None
        self.block_scales = new_buffer() if self.block else None
        self.row_scales: Any = None
        self.scale_table: Placed | None = None  # the row scales once more, as a tensor
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

    def _blocks(self, scales: Placed, subgraph: Any) -> Any:
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
        """Mean the bytes and scales of the same weight, written with a graph that begins at ``start``."""
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


def stored_blocks(weight: Weight, rule: Rule) -> Iterator[StoredRows]:
    """The rows of a weight as they go to disk: as they come, or quantised now."""
    if weight.ready is not None:
        return weight.ready.blocks()
    return (store_rows(rows, rule.storage, rule.algorithm) for rows in weight.blocks())


def bind(
    graph: bytes,
    weights: Mapping[str, Weight],
    recipe: Recipe,
    stream: BinaryIO,
    progress: Advance = lambda _: None,
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
    constants = bind_constants(graph, weights, recipe, stream, progress)
    return [constant.stored for constant in constants.values()]


def bind_constants(
    graph: bytes,
    weights: Mapping[str, Weight],
    recipe: Recipe,
    stream: BinaryIO,
    progress: Advance = lambda _: None,
) -> dict[str, Constant]:
    """The same; returns where every weight now is, by parameter name."""
    lowered = LoweredGraph(graph)
    constants = lowered.make_constants(weights, recipe)
    head = len(lowered.pack())
    stream.seek(head)
    position = head
    for constant in constants.values():
        position = constant.write(stream, position, progress)
    packed = lowered.pack()
    if len(packed) != head:
        raise LoweringError(f"the graph is {len(packed)} bytes with its scales, {head} without")
    stream.seek(0)
    stream.write(packed)
    stream.seek(position)
    return constants


def stored_size(graph: bytes, weights: Mapping[str, Weight], recipe: Recipe) -> int:
    """Upper bound of the bytes :func:`bind` will write, for a check of free space beforehand."""
    total, uses = len(graph), LoweredGraph(graph).uses()
    for name, weight in weights.items():
        rule = choose_rule(weight, recipe)
        bits = 32 if rule is None else rule.storage.bits
        total += weight.rows * (weight.row_length * bits // 8) + 2 * ALIGNMENT + TABLE_BYTES
        if rule is not None and rule.storage.block:
            scales = weight.rows * rule.storage.scales_per_row(weight.row_length)
            total += scales * BLOCK_SCALE_BYTES + ALIGNMENT + (1 + uses[name]) * TABLE_BYTES
        else:
            total += weight.rows * SCALE_BYTES
    return total


def choose_rule(weight: Weight, recipe: Recipe) -> Rule | None:
    """How a weight is stored; None for an integer table.

    Codes that come ready are stored as they are, whatever the recipe says.

    Raises:
        RecipeError: The weight's rows do not fit the storage.
    """
    if weight.spec.dtype is not Dtype.FLOAT32:
        return None
    if weight.ready is not None:
        return Rule(weight.name, weight.ready.storage)
    rule = recipe.rule(weight.name) if weight.is_matrix else UNQUANTISED
    if not rule.storage.fits(weight.row_length):
        raise RecipeError(f"recipe {recipe.name}: {misfit(weight, rule.storage)}")
    return rule


def misfit(weight: Weight, storage: Storage) -> str:
    """Why a weight cannot be stored so, and what can be done."""
    return (
        f"{weight.name} has rows of {weight.row_length} elements, and {storage} needs a multiple of "
        f"{storage.divisor()}; give it {storage.nearest_fit(weight.row_length)}"
    )


def parameter_name(graph_input: bytes | str) -> str | None:
    """The parameter that a graph input stands for; None for a real input."""
    name = graph_input.decode() if isinstance(graph_input, bytes) else graph_input
    return name.removeprefix(WEIGHT_PREFIX) if name.startswith(WEIGHT_PREFIX) else None
