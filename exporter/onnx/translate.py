"""A traced torch function as an ONNX graph, operator by operator.

What depends on no input (frequencies, slot numbers) is computed here and becomes a constant. How an
operator is written in ONNX is told in ``operators``; one that is not told there is an error.
"""

from __future__ import annotations

import operator
from typing import Any

import onnx
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from exporter.bundle.onnx_names import output_name
from exporter.contract.names import WEIGHT_PREFIX
from exporter.errors import LoweringError, listed
from exporter.lowering.signatures import Signature
from exporter.onnx.graph_builder import GraphBuilder, Value
from exporter.onnx.operators import OPERATORS, Call

WEIGHTS = "weights"
"""The argument of a traced function that holds its weights."""

CHECKS = ("aten._assert_tensor_metadata.default",)
"""The tracer's own, which compute nothing."""

LARGEST_CONSTANT = 16384
"""Elements of a constant that is written out; a larger one must be of one value throughout."""


def translate(
    program: ExportedProgram, signature: Signature, placeholder: int | None = None
) -> onnx.ModelProto:
    """The ONNX model of a traced signature; weights are inputs named ``weights_<parameter>``.

    Args:
        program: The signature, traced.
        signature: Its names.
        placeholder: Number of cache slots it was traced with, where that is chosen at load.

    Raises:
        LoweringError: It uses operators without a translation; all of them are named.
    """
    return _Translation(program, signature, GraphBuilder(placeholder)).model()


class _Translation:
    """What every node of the traced graph became: a value of the ONNX graph, or a constant."""

    def __init__(
        self, program: ExportedProgram, signature: Signature, builder: GraphBuilder
    ) -> None:
        self._program, self._signature, self._builder = program, signature, builder
        self._known: dict[fx.Node, Any] = {}
        self._filled: list[Value] = []
        self._outputs = self._output_names()

    def model(self) -> onnx.ModelProto:
        self._declare_inputs()
        calls = [node for node in self._program.graph.nodes if node.op == "call_function"]
        self._require_translations(calls)
        for node in calls:
            if str(node.target) not in CHECKS:
                self._known[node] = self._result(node)
        outputs = [self._known[node] for node in self._outputs]
        return self._builder.model(self._signature.name, outputs)

    def _declare_inputs(self) -> None:
        """Inputs have the signature's names; tensors that the function closes over are constants."""
        spec = self._program.call_spec.in_spec
        assert spec is not None
        _, named = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
        names = {index: WEIGHT_PREFIX + name for name, index in named.pop(WEIGHTS).items()}
        names |= {index: name for name, index in named.items()}
        placeholders = (n for n in self._program.graph.nodes if n.op == "placeholder")
        declared = 0
        for node, given in zip(
            placeholders, self._program.graph_signature.input_specs, strict=True
        ):
            if given.kind is InputKind.USER_INPUT:
                value = _value(names[declared], node.meta["val"])
                self._known[node] = self._builder.input(value)
                declared += 1
            else:
                assert given.target is not None
                self._known[node] = self._program.constants[given.target]

    def _output_names(self) -> dict[fx.Node, str]:
        spec = self._program.call_spec.out_spec
        assert spec is not None
        named = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
        (results,) = self._program.graph.output_node().args
        inputs = self._signature.spec.inputs
        assert isinstance(results, tuple | list)
        return {results[index]: output_name(name, inputs) for name, index in named.items()}

    def _require_translations(self, calls: list[fx.Node]) -> None:
        known = {*OPERATORS, *CHECKS, str(operator.getitem)}
        varying = {node for node, value in self._known.items() if isinstance(value, Value)}
        unknown: dict[str, None] = {}
        for node in calls:
            if varying.isdisjoint(node.all_input_nodes):
                continue
            varying.add(node)
            if str(node.target) not in known:
                unknown[str(node.target)] = None
        if unknown:
            raise LoweringError(
                f"{self._signature.name} cannot be written in ONNX, which has to be told in "
                f"exporter/onnx/operators.py how: {listed(list(unknown))}"
            )

    def _result(self, node: fx.Node) -> Any:
        """A :class:`Value`, several of them, or a torch tensor if no input has a say in it."""
        args: Any
        kwargs: Any
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda used: self._known[used])
        if all(not _varies(self._known[used]) for used in node.all_input_nodes):
            return node.target(*args, **kwargs)  # type: ignore[operator]
        if node.target is operator.getitem:
            return args[0][args[1]]
        call = Call(self._builder, node.name, self._results(node))
        as_values = pytree.tree_map_only(Tensor, self._constant, (args, kwargs))
        OPERATORS[str(node.target)](call, *as_values[0], **as_values[1])
        return call.results if isinstance(node.meta["val"], tuple | list) else call.result

    def _results(self, node: fx.Node) -> tuple[Value, ...]:
        found = node.meta["val"]
        if isinstance(found, tuple | list):
            return tuple(_value(f"{node.name}.{i}", part) for i, part in enumerate(found))
        return (_value(self._outputs.get(node, node.name), found),)

    def _constant(self, tensor: Tensor) -> Value:
        if tensor.numel() <= LARGEST_CONSTANT:
            return self._builder.constant(tensor.contiguous().numpy())
        if not bool((tensor == tensor.flatten()[0]).all()):
            raise LoweringError(f"{self._signature.name}: a constant of {list(tensor.shape)}")
        return self._fill(tensor)

    def _fill(self, tensor: Tensor) -> Value:
        """A large constant of one value, made when the graph is run."""
        shape = self._builder.constant(torch.tensor(tensor.shape).numpy())
        one = self._builder.tensor(tensor.flatten()[:1].numpy())
        self._filled.append(_value(f"filled_{len(self._filled)}", tensor))
        self._builder.node("ConstantOfShape", [shape], self._filled[-1:], value=one)
        return self._filled[-1]


def _value(name: str, tensor: Any) -> Value:
    """The value that stands for a (fake) tensor."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Value(name, tuple(int(size) for size in tensor.shape), dtype)


def _varies(known: Any) -> bool:
    """Whether a node's result depends on an input."""
    return isinstance(known, Value) or (isinstance(known, tuple) and isinstance(known[0], Value))
