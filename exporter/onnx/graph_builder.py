"""An ONNX graph while it is being written: nodes, constants, and the shapes of values.

Knows the file format and nothing of torch. Shapes are static and every value carries its own, so that
shape inference has something to check itself against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

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

    def info(self) -> onnx.ValueInfoProto:
        """As ONNX declares it."""
        return helper.make_tensor_value_info(self.name, ELEMENT_TYPES[self.dtype], list(self.shape))


class GraphBuilder:
    """Collects a graph in the order it is computed."""

    def __init__(self) -> None:
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
            [value.info() for value in self._inputs],
            [value.info() for value in outputs],
            [tensor for tensor in self._constants.values() if tensor.name in used],
            value_info=[self._values[name].info() for name in made if name not in given],
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="mtp-export"
        )

    def _needed(self, outputs: set[str]) -> list[onnx.NodeProto]:
        needed, kept = set(outputs), []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        return kept[::-1]
