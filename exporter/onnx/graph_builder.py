"""An ONNX graph while it is being written: nodes, constants, and the shapes of values.

Knows the file format and nothing of torch. Shapes are static, but for the length of the caches, and
every value carries its own, so that shape inference has something to check itself against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exporter.bundle.onnx_names import SLOTS

OPSET = 20
"""The first with GELU as one operator; ONNX Runtime 1.17 and later read it, on phones too."""

IR_VERSION = 9
"""Of the file format; the one that came with the opset."""

ELEMENT_TYPES: dict[str, int] = {
    "float32": TensorProto.FLOAT,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
}
"""By numpy name: all that the graphs hold and compute with."""


@dataclass(frozen=True)
class Value:
    """One value of the graph."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class GraphBuilder:
    """Collects a graph in the order it is computed.

    Args:
        placeholder: A size that is chosen at load, and stands in every shape until then; ONNX has a
            name for it instead, ``SLOTS``.
    """

    def __init__(self, placeholder: int | None = None) -> None:
        self._placeholder = placeholder
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[Value] = []
        self._values: dict[str, Value] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._producers: dict[str, onnx.NodeProto] = {}

    def input(self, value: Value) -> Value:
        """Declare an input."""
        self._inputs.append(value)
        return value

    def constant(self, array: NDArray[Any]) -> Value:
        """A constant; equal ones are kept once."""
        assert self._placeholder not in array.shape
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(array, name)
        return Value(self._constants[key].name, array.shape, str(array.dtype))

    def tensor(self, array: NDArray[Any]) -> onnx.TensorProto:
        """An attribute that is a tensor."""
        return numpy_helper.from_array(array)

    def node(
        self, operator: str, inputs: Sequence[Value | None], results: Sequence[Value], **more: Any
    ) -> None:
        """Append a node; an input of None is left out, ``more`` are its attributes."""
        names = [value.name if value is not None else "" for value in inputs]
        outputs = [value.name for value in results]
        node = helper.make_node(operator, names, outputs, outputs[0], **more)
        self._nodes.append(node)
        self._values |= {value.name: value for value in results}
        self._producers |= dict.fromkeys(outputs, node)

    def sizes(self, shape: Sequence[int]) -> Value:
        """A shape to be given to a node, the size that is left open as -1: whatever is left."""
        sizes = [-1 if size == self._placeholder else size for size in shape]
        return self.constant(np.array(sizes, dtype=np.int64))

    def inputs_of(self, value: Value, operator: str) -> list[str]:
        """Names of the inputs of the node that made ``value``, if that is an ``operator``."""
        node = self._producers.get(value.name)
        return list(node.input) if node is not None and node.op_type == operator else []

    def value(self, name: str) -> Value:
        """The result of that name."""
        return self._values[name]

    def model(self, name: str, outputs: Sequence[Value]) -> onnx.ModelProto:
        """The finished model, without what no output needs."""
        given = {value.name for value in outputs}
        nodes = self._needed(given)
        used = {read for node in nodes for read in node.input}
        made = [output for node in nodes for output in node.output]
        graph = helper.make_graph(
            nodes,
            name,
            [self._info(value) for value in self._inputs],
            [self._info(value) for value in outputs],
            [tensor for tensor in self._constants.values() if tensor.name in used],
            value_info=[self._info(self._values[name]) for name in made if name not in given],
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="mtp-export"
        )

    def _info(self, value: Value) -> onnx.ValueInfoProto:
        """As ONNX declares it."""
        shape = [SLOTS if size == self._placeholder else size for size in value.shape]
        return helper.make_tensor_value_info(value.name, ELEMENT_TYPES[value.dtype], shape)

    def _needed(self, outputs: set[str]) -> list[onnx.NodeProto]:
        needed, kept = set(outputs), []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        return kept[::-1]
