"""Choosing the cache length of a graph that has a placeholder in its place.

The rules are the stock engine's: a tensor dimension, or a shape that an operation takes as a constant
parameter, that is a multiple of the placeholder becomes the same multiple of the length. The graph is
edited where it lies; nothing in it changes its size. Source: LiteRT's ``magic_number_utils.cc``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.contract.text import Contract

SHAPE_PARAMETERS = {
    schema.BuiltinOperator.RESHAPE: 1,
    schema.BuiltinOperator.BROADCAST_TO: 1,
    schema.BuiltinOperator.RANGE: 1,
    schema.BuiltinOperator.SLICE: 2,
}
"""Which input of an operation may hold sizes."""


@dataclass(frozen=True)
class Resizing:
    """``placeholder`` (a prime) becomes ``length``."""

    placeholder: int
    length: int

    @classmethod
    def of(cls, agreed: Contract) -> Self | None:
        """What graphs need to have the contract's cache length; None if they have it already."""
        return cls(agreed.placeholder, agreed.cache_length) if agreed.placeholder else None

    def apply(self, graph: memoryview) -> int:
        """Edit a flatbuffer in place; returns how many numbers changed.

        Args:
            graph: Writable; weights behind the flatbuffer need not be part of it.
        """
        return sum(self._replace(numbers) for numbers in _sizes(graph))

    def _replace(self, numbers: NDArray[Any]) -> int:
        multiples = (numbers != 0) & (numbers % self.placeholder == 0)
        numbers[multiples] = numbers[multiples] // self.placeholder * self.length
        return int(np.count_nonzero(multiples))


def _sizes(graph: memoryview) -> Iterator[NDArray[Any]]:
    """Every array of sizes in a graph, as a writable view."""
    model = schema.Model.GetRootAs(graph, 0)
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(subgraph.Tensors, range(subgraph.TensorsLength())):
            if tensor.ShapeLength():
                yield tensor.ShapeAsNumpy()
        for operator in map(subgraph.Operators, range(subgraph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
            if (index := SHAPE_PARAMETERS.get(code)) is not None:
                tensor = subgraph.Tensors(operator.Inputs(index))
                buffer = model.Buffers(tensor.Buffer())
                if buffer.DataLength():
                    yield buffer.DataAsNumpy().view(_integers(tensor.Type()))


def _integers(tensor_type: int) -> type[np.signedinteger[Any]]:
    return np.int64 if tensor_type == schema.TensorType.INT64 else np.int32
