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

from exporter.bundle.flatbuffer import Flatbuffer, Table
from exporter.bundle.model_tables import ModelTables, SubgraphTables
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

    def apply(self, graph: memoryview, where: str = "a graph") -> int:
        """Edit a flatbuffer in place; returns how many numbers changed.

        Args:
            graph: Writable; weights behind the flatbuffer need not be part of it.
            where: What a message calls it.

        Raises:
            BundleError: It is damaged.
        """
        model = ModelTables.of(Flatbuffer(graph, where))
        return sum(self._replace(numbers) for numbers in _sizes(model))

    def _replace(self, numbers: NDArray[Any]) -> int:
        multiples = (numbers != 0) & (numbers % self.placeholder == 0)
        numbers[multiples] = numbers[multiples] // self.placeholder * self.length
        return int(np.count_nonzero(multiples))


def _sizes(model: ModelTables) -> Iterator[NDArray[Any]]:
    """Every array of sizes in a graph, as a writable view."""
    codes = model.operator_codes
    for subgraph in model.subgraphs:
        yield from (tensor.sizes for tensor in subgraph.tensors)
        for operator in subgraph.operators:
            if (found := _parameter(model, codes, subgraph, operator)) is not None:
                yield found


def _parameter(
    model: ModelTables, codes: tuple[int, ...], subgraph: SubgraphTables, operator: Table
) -> NDArray[Any] | None:
    """The sizes that an operator takes as a constant, if it takes any."""
    code, inputs = int(operator.number(0, "<I")), operator.numbers(1, "i")
    if code >= len(codes):
        raise operator.source.damaged(f"number {code} of {len(codes)} operator codes is looked for")
    index = SHAPE_PARAMETERS.get(codes[code])
    if index is None or index >= len(inputs) or inputs[index] < 0:  # left out
        return None
    tensor = subgraph.tensor(inputs[index])
    dtype = "<i8" if tensor.dtype == "int64" else "<i4"
    data = model.buffer(tensor.buffer).data
    if data.nbytes % np.dtype(dtype).itemsize:
        raise operator.source.damaged(f"{data.nbytes} bytes are no sizes of {dtype}")
    return data.view(dtype)
