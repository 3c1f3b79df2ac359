"""Reading a LiteRT flatbuffer: its signatures and how its constants are stored.

Works on a view of a mapped section and touches only the flatbuffer's own pages, never the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from exporter.errors import BundleError

TYPE_NAMES: dict[int, str] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}

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
    """A parsed view of one model section.

    Raises:
        BundleError: The bytes are not a LiteRT model.
    """

    def __init__(self, content: memoryview | bytes, where: str) -> None:
        self.where = where
        self.size = len(content)
        if len(content) < 8 or bytes(content[4:8]) != b"TFL3":
            raise BundleError(f"{where}: expected a LiteRT model (TFL3), found something else")
        self.model: Any = schema.Model.GetRootAs(content, 0)

    def release(self) -> None:
        """Let go of the bytes, so that a mapping can be closed."""
        self.model = None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """The generated reader checks nothing and raises whatever it hits."""
        try:
            yield
        except BundleError:
            raise
        except Exception as error:  # see above: it is not known which
            raise BundleError(f"{self.where}: the model is damaged ({error})") from error

    def signatures(self) -> dict[str, SignatureInfo]:
        """Every signature by name, in file order.

        Raises:
            BundleError: The flatbuffer is damaged.
        """
        with self._reading():
            return dict(self._signatures())

    def _signatures(self) -> Iterator[tuple[str, SignatureInfo]]:
        for index in range(self.model.SignatureDefsLength()):
            signature = self.model.SignatureDefs(index)
            subgraph = self.model.Subgraphs(signature.SubgraphIndex())
            inputs = [signature.Inputs(i) for i in range(signature.InputsLength())]
            outputs = [signature.Outputs(i) for i in range(signature.OutputsLength())]
            yield (
                signature.SignatureKey().decode(),
                SignatureInfo(
                    {entry.Name().decode(): _info(subgraph, entry) for entry in inputs},
                    {entry.Name().decode(): _info(subgraph, entry) for entry in outputs},
                ),
            )

    def constants(self) -> list[ConstantInfo]:
        """Weights of the graph, each once, however many signatures share it.

        Raises:
            BundleError: The flatbuffer is damaged, or a weight lies outside the section.
        """
        with self._reading():
            return list(self._constants())

    def graph_bytes(self) -> int:
        """Length of the flatbuffer: where the weights behind it begin, or all there is."""
        buffers = (self.model.Buffers(i) for i in range(self.model.BuffersLength()))
        return min((int(b.Offset()) for b in buffers if b.Offset() > 1), default=self.size)

    def _constants(self) -> Iterator[ConstantInfo]:
        seen: set[int] = set()
        for index in range(self.model.SubgraphsLength()):
            subgraph = self.model.Subgraphs(index)
            for i in range(subgraph.TensorsLength()):
                tensor = subgraph.Tensors(i)
                if tensor.Buffer() in seen:
                    continue
                nbytes = self._buffer_size(tensor.Buffer())
                if nbytes >= CONSTANT_THRESHOLD:
                    seen.add(tensor.Buffer())
                    inside = self.model.Buffers(tensor.Buffer()).Offset() <= 1
                    yield _constant(tensor, nbytes, inside)

    def _buffer_size(self, index: int) -> int:
        buffer = self.model.Buffers(index)
        if buffer.Offset() <= 1:
            return int(buffer.DataLength())
        if buffer.Offset() + buffer.Size() > self.size:
            raise BundleError(
                f"{self.where}: a weight ends at byte {buffer.Offset() + buffer.Size()} of {self.size}"
            )
        return int(buffer.Size())


def _info(subgraph: Any, entry: Any) -> TensorInfo:
    tensor = subgraph.Tensors(entry.TensorIndex())
    return TensorInfo(TYPE_NAMES[tensor.Type()], _shape(tensor))


def _shape(tensor: Any) -> tuple[int, ...]:
    if tensor.ShapeSignatureLength():
        return tuple(int(n) for n in tensor.ShapeSignatureAsNumpy())
    return tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()


def block_quantization(quantization: Any) -> Any:
    """The details of a tensor with scales of blocks; None if it has none."""
    blockwise = schema.QuantizationDetails.BlockwiseQuantization
    if quantization is None or quantization.DetailsType() != blockwise:
        return None
    details, table = schema.BlockwiseQuantization(), quantization.Details()
    details.Init(table.Bytes, table.Pos)
    return details


def _constant(tensor: Any, nbytes: int, inside: bool) -> ConstantInfo:
    quantization = tensor.Quantization()
    scales = quantization.ScaleLength() if quantization is not None else 0
    block = block_quantization(quantization)
    size = int(block.BlockSize()) if block is not None else None
    name, dtype = tensor.Name().decode(), TYPE_NAMES[tensor.Type()]
    return ConstantInfo(name, dtype, _shape(tensor), nbytes, int(scales), size, inside)
