"""Giving a weightless ONNX model its weights, as initializers in external data.

A weight input leaves the graph's inputs and becomes an initializer that says where its bytes lie. A
quantised one takes its operator along: a product becomes ``MatMulNBits``, a lookup
``GatherBlockQuantized``, ONNX Runtime's operators with kernels for such weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper

from exporter.contract.names import WEIGHT_PREFIX, Dtype, TensorSpec
from exporter.errors import LoweringError
from exporter.onnx.graph_builder import ELEMENT_TYPES
from exporter.onnx.weight_files import ExternalData, PlacedWeight

DOMAIN = "com.microsoft"
"""Of ONNX Runtime's own operators."""

INT8_PRODUCTS = 4
"""MatMulNBits' accuracy level at which activations are rounded to 8 bits, as LiteRT's kernels round
them. Products of float32 activations took 5 times as long with int4 weights, 300 times with int8."""

SCALES = ".scales"
"""Ending of the name of a quantised weight's scales."""

DTYPES = {ELEMENT_TYPES[dtype]: dtype for dtype in (Dtype.FLOAT32, Dtype.INT32)}


def weight_specs(model: onnx.ModelProto) -> dict[str, TensorSpec]:
    """Shapes and types of a weightless model's weights, by parameter name."""
    return {
        entry.name.removeprefix(WEIGHT_PREFIX): TensorSpec(
            tuple(dim.dim_value for dim in entry.type.tensor_type.shape.dim),
            DTYPES[entry.type.tensor_type.elem_type],
        )
        for entry in model.graph.input
        if entry.name.startswith(WEIGHT_PREFIX)
    }


def bind(model: onnx.ModelProto, weights: Mapping[str, PlacedWeight]) -> None:
    """Turn the weight inputs of ``model`` into initializers, in place.

    Args:
        model: From ``translate``.
        weights: Every weight of its section, by parameter name.

    Raises:
        LoweringError: A quantised weight is used otherwise than in one product or lookup.
    """
    rewriting = _Rewriting({WEIGHT_PREFIX + name: weights[name] for name in weight_specs(model)})
    nodes = rewriting.run(model.graph.node)
    made = {name for node in nodes for name in node.output}
    inputs = [entry for entry in model.graph.input if not entry.name.startswith(WEIGHT_PREFIX)]
    values = [entry for entry in model.graph.value_info if entry.name in made]
    for field, kept in (("node", nodes), ("input", inputs), ("value_info", values)):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(kept)
    model.graph.initializer.extend(rewriting.initializers.values())
    if any(node.domain == DOMAIN for node in nodes):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


class _Rewriting:
    """A pass over the nodes, in order, that puts initializers in the place of weight inputs."""

    def __init__(self, weights: Mapping[str, PlacedWeight]) -> None:
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._quantised = {name: w for name, w in weights.items() if w.scales is not None}
        self._plain = {name: w for name, w in weights.items() if w.scales is None}
        self._turned: dict[str, PlacedWeight] = {}

    def run(self, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """The nodes that remain, some of them replaced."""
        return [kept for node in nodes if (kept := self._rewritten(node)) is not None]

    def _rewritten(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        read = [name for name in node.input if name in self._quantised or name in self._turned]
        if not read:
            return self._with_plain_weights(node)
        (name,) = read
        if node.op_type == "Transpose":
            self._turned[node.output[0]] = self._quantised[name]
            return None
        if node.op_type == "MatMul" and name in self._turned and node.input[1] == name:
            return self._product(node, self._turned[name])
        if node.op_type == "Gather" and name in self._quantised and node.input[0] == name:
            return self._lookup(node, self._quantised[name])
        raise LoweringError(
            f"{name} is quantised and read by a {node.op_type}; ONNX Runtime has products and lookups of "
            "quantised weights only"
        )

    def _with_plain_weights(self, node: onnx.NodeProto) -> onnx.NodeProto:
        for index, name in enumerate(node.input):
            if (placed := self._plain.get(name)) is not None:
                node.input[index] = self._plain_weight(placed)
        return node

    def _plain_weight(self, placed: PlacedWeight) -> str:
        """A matrix or a table as it is; a vector without the leading ones it has in the graph."""
        spec = placed.weight.spec
        shape = spec.shape if len(spec.shape) == 2 else spec.shape[-1:]
        return self._initializer(placed.weight.name, ELEMENT_TYPES[spec.dtype], shape, placed.data)

    def _product(self, node: onnx.NodeProto, placed: PlacedWeight) -> onnx.NodeProto:
        rows, length, encoding = placed.weight.rows, placed.weight.row_length, placed.encoding
        assert encoding is not None
        shape = (rows, length // encoding.block, encoding.block * encoding.bits // 8)
        inputs = [node.input[0], *self._codes_and_scales(placed, shape)]
        return helper.make_node(
            "MatMulNBits",
            inputs,
            node.output,
            node.name,
            domain=DOMAIN,
            K=length,
            N=rows,
            bits=encoding.bits,
            block_size=encoding.block,
            accuracy_level=INT8_PRODUCTS,
        )

    def _lookup(self, node: onnx.NodeProto, placed: PlacedWeight) -> onnx.NodeProto:
        assert placed.encoding is not None
        bits = placed.encoding.bits
        shape = (placed.weight.rows, placed.weight.row_length * bits // 8)
        codes, scales = self._codes_and_scales(placed, shape)
        return helper.make_node(
            "GatherBlockQuantized",
            [codes, node.input[1], scales],
            node.output,
            node.name,
            domain=DOMAIN,
            gather_axis=0,
            quantize_axis=1,
            bits=bits,
            block_size=placed.encoding.block,
        )

    def _codes_and_scales(self, placed: PlacedWeight, shape: tuple[int, ...]) -> tuple[str, str]:
        assert placed.encoding is not None
        assert placed.scales is not None
        name, blocks = placed.weight.name, placed.weight.row_length // placed.encoding.block
        scales = self._initializer(
            name + SCALES, TensorProto.FLOAT, (placed.weight.rows, blocks), placed.scales
        )
        return self._initializer(name, TensorProto.UINT8, shape, placed.data), scales

    def _initializer(
        self, name: str, element_type: int, shape: tuple[int, ...], region: ExternalData
    ) -> str:
        tensor = TensorProto(
            name=name, data_type=element_type, dims=shape, data_location=TensorProto.EXTERNAL
        )
        for key, value in (
            ("location", region.file), ("offset", region.offset), ("length", region.nbytes),
        ):  # fmt: skip
            tensor.external_data.add(key=key, value=str(value))
        if self.initializers.setdefault(name, tensor).dims != tensor.dims:
            raise LoweringError(f"{name} is used both in a product and in a lookup")
        return name
