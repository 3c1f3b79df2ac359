"""Turning the weight inputs of a lowered graph into constants, their bytes streamed behind it.

The edit: a weight's tensor gets a buffer, an element type and, if quantised, its scales; it leaves
the inputs of its subgraph and signature; all signatures share one buffer per weight. Buffers lie
after the flatbuffer and are found by offset and size, so a file may pass 2 GB and bytes can be
written as they are made.

One scale per row is inside the flatbuffer, in front of the bytes it comes from. So the flatbuffer is
packed twice: first with placeholders, which fixes its length, and again when all scales are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from exporter.contract.names import WEIGHT_PREFIX, Dtype, TensorSpec
from exporter.errors import LoweringError
from exporter.litertlm.constant import ALIGNMENT, Constant, PlacedBuffer
from exporter.litertlm.lookups import bulk_lookups, split_lookup
from exporter.lowering.merge import FILE_IDENTIFIER
from exporter.progress import Advance
from exporter.weights.matching import Weight
from exporter.weights.storing import choose_rule
from quantize.recipe import Recipe

SCALE_BYTES = 16
"""Of one row: a float32 scale and an int64 zero point, and the scale again where it is a table."""

BLOCK_SCALE_BYTES = 2
"""Of one block: a float16."""

TABLE_BYTES = 512
"""Allowance for what one more buffer and its quantisation table, or one more tensor, add to the
flatbuffer."""

DTYPES = {
    schema.TensorType.FLOAT32: Dtype.FLOAT32,
    schema.TensorType.INT32: Dtype.INT32,
    schema.TensorType.BOOL: Dtype.BOOL,
}


class LoweredGraph:
    """A flatbuffer whose weights are graph inputs, parsed."""

    def __init__(self, graph: bytes) -> None:
        self.model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(graph, 0))

    def weight_inputs(self) -> Iterator[tuple[str, TensorSpec]]:
        """Parameter name, shape and type of every weight that a signature takes."""
        for name, tensor, _ in self._weight_tensors():
            yield name, TensorSpec(tuple(int(n) for n in tensor.shape), DTYPES[tensor.type])

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
        """Lookups of many rows read a table's codes and scales apart; see ``exporter.litertlm.lookups``."""
        if tensor.type != schema.TensorType.INT8 or constant.row_scales is None:
            return
        table = next(i for i, other in enumerate(subgraph.tensors) if other is tensor)
        for lookup in bulk_lookups(subgraph, table, self.model.operatorCodes):
            if constant.scale_table is None:
                constant.scale_table = self._new_buffer()
            split_lookup(self.model, subgraph, lookup, constant.scale_table.index)

    def _new_buffer(self) -> PlacedBuffer:
        buffer = schema.BufferT()
        buffer.offset = buffer.size = 1  # any non-default value: the fields must exist
        self.model.buffers.append(buffer)
        return PlacedBuffer(buffer, len(self.model.buffers) - 1)

    def pack(self) -> bytes:
        """The flatbuffer, padded to :data:`ALIGNMENT`."""
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), FILE_IDENTIFIER)
        packed = bytes(builder.Output())
        return packed + b"\0" * (-len(packed) % ALIGNMENT)


def bind(
    graph: bytes,
    weights: Mapping[str, Weight],
    recipe: Recipe,
    stream: BinaryIO,
    progress: Advance = lambda _: None,
) -> dict[str, Constant]:
    """Write a graph and its weights to ``stream``; returns where every weight now is, by parameter name.

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


def parameter_name(graph_input: bytes | str) -> str | None:
    """The parameter that a graph input stands for; None for a real input."""
    name = graph_input.decode() if isinstance(graph_input, bytes) else graph_input
    return name.removeprefix(WEIGHT_PREFIX) if name.startswith(WEIGHT_PREFIX) else None
