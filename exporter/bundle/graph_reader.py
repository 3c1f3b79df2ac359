"""Reading a LiteRT flatbuffer: its signatures and how its constants are stored.

Works on a view of a mapped section and touches only the flatbuffer's own pages, never the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from exporter.bundle.flatbuffer import Flatbuffer
from exporter.bundle.model_tables import IDENTIFIER, ModelTables, SubgraphTables, TensorTable
from exporter.errors import BundleError

BITS = {
    "float32": 32, "float16": 16, "bfloat16": 16, "int64": 64, "int32": 32, "int16": 16, "int8": 8,
    "uint8": 8, "bool": 8, "int4": 4, "uint4": 4, "int2": 2,
}  # fmt: skip

CONSTANT_THRESHOLD = 1024
"""Bytes from which a constant counts as a weight; below are shapes, axes and scalars."""


@dataclass(frozen=True)
class TensorInfo:
    """A named tensor: dtype by LiteRT's name, -1 for a dimension that is chosen at load."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SignatureInfo:
    """Inputs and outputs of one signature."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


@dataclass(frozen=True)
class ConstantInfo:
    """A constant of the graph that is not tiny."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    scales: int
    block: int | None
    """Elements that share a scale where a row has several."""
    inside: bool
    """Stored within the flatbuffer, not behind it."""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


class GraphReader:
    """A view of one model section.

    Raises:
        BundleError: The bytes are not a LiteRT model.
    """

    def __init__(self, content: memoryview | bytes, where: str) -> None:
        self.where = where
        self.size = len(content)
        if len(content) < 8 or bytes(content[4:8]) != IDENTIFIER:
            expected = IDENTIFIER.decode()
            raise BundleError(
                f"{where}: expected a LiteRT model ({expected}), found something else"
            )
        self.model = ModelTables.of(Flatbuffer(content, where))

    def signatures(self) -> dict[str, SignatureInfo]:
        """Every signature by name, in file order.

        Raises:
            BundleError: The flatbuffer is damaged.
        """
        found = {}
        for signature in self.model.signatures:
            subgraph = self.model.subgraph(signature.subgraph)
            sides = _infos(subgraph, signature.inputs), _infos(subgraph, signature.outputs)
            found[signature.name] = SignatureInfo(*sides)
        return found

    def graph_bytes(self) -> int:
        """Length of the flatbuffer: where the weights behind it begin, or all there is."""
        return min((b.offset for b in self.model.buffers if b.behind), default=self.size)

    def constants(self) -> list[ConstantInfo]:
        """Weights of the graph, each once, however many signatures share it.

        Raises:
            BundleError: The flatbuffer is damaged, or a weight lies outside the section.
        """
        return list(self._constants())

    def _constants(self) -> Iterator[ConstantInfo]:
        seen: set[int] = set()
        for subgraph in self.model.subgraphs:
            for tensor in subgraph.tensors:
                if (index := tensor.buffer) in seen:
                    continue
                buffer = self.model.buffer(index)
                if buffer.nbytes >= CONSTANT_THRESHOLD:
                    if buffer.behind and buffer.offset + buffer.nbytes > self.size:
                        end = buffer.offset + buffer.nbytes
                        raise BundleError(
                            f"{self.where}: a weight ends at byte {end} of {self.size}"
                        )
                    seen.add(index)
                    yield _constant(tensor, buffer.nbytes, not buffer.behind)


def _infos(subgraph: SubgraphTables, named: Iterable[tuple[str, int]]) -> dict[str, TensorInfo]:
    return {name: _info(subgraph.tensor(index)) for name, index in named}


def _info(tensor: TensorTable) -> TensorInfo:
    return TensorInfo(tensor.dtype, tensor.shape)


def _constant(tensor: TensorTable, nbytes: int, inside: bool) -> ConstantInfo:
    quantization = tensor.quantization
    scales = 0 if quantization is None else quantization.scale_count
    blocks = None if quantization is None else quantization.blocks
    size = None if blocks is None else int(blocks.number(2, "<i"))
    return ConstantInfo(tensor.name, tensor.dtype, tensor.shape, nbytes, scales, size, inside)
