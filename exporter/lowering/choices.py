"""Choices between composites as IF operations: the branch that is not taken costs nothing.

Torch has one way to choose a tensor that survives lowering, ``torch.where``, and it computes both sides. So
a choice is traced as ``where(chosen, branch, otherwise)`` over branches that are composites, and here, in the
flatbuffer, the composite's decomposition becomes a branch of an IF. LiteRT hands caches to a branch by
address, and gives a branch's operations to XNNPACK as it does a signature's.

Subgraphs of branches are no signatures, so the stock engine does not put the cache length into them. They
need none: LiteRT gives their inputs the shapes of the operands at every run, and all others follow, if no
operation has one as a parameter. So of RESHAPE's sizes the one that follows from the others becomes -1, and
SLICE becomes STRIDED_SLICE, which takes what there is where a cache has fewer slots than the branch is for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.contract.names import CHOICE_PREFIX
from exporter.errors import LoweringError
from exporter.lowering.merge import FILE_IDENTIFIER, SUBGRAPH_REFERENCES

SELECTS = (schema.BuiltinOperator.SELECT, schema.BuiltinOperator.SELECT_V2)


def with_choices(graph: bytes) -> bytes:
    """The graph of one signature with IF operations; unchanged if it has no choices.

    Raises:
        LoweringError: The converter did not leave the branches as they were traced.
    """
    if CHOICE_PREFIX.encode() not in graph:
        return graph
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(graph, 0))
    (signature,) = model.signatureDefs
    _Choices(model, model.subgraphs[signature.subgraphIndex]).apply()
    _keep_reached(model)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


@dataclass(frozen=True)
class _Choice:
    """``branches`` ``[i]`` where ``chosen`` ``[i]`` is the first that holds, else the last branch."""

    chosen: list[int]
    branches: list[Any]
    selects: list[int]

    @property
    def operands(self) -> list[int]:
        """Tensors that every branch takes."""
        return [int(tensor) for tensor in self.branches[0].inputs]

    def names(self) -> tuple[bytes, ...]:
        """What its branches are; choices of equal names and operands have equal branches."""
        return tuple(branch.builtinOptions2.name for branch in self.branches)


class _Choices:
    """Rewrites the choices of one subgraph."""

    def __init__(self, model: Any, subgraph: Any) -> None:
        self._model, self._subgraph = model, subgraph
        operators = subgraph.operators
        self._branches = {int(o.outputs[0]): o for o in operators if self._is_branch(o)}
        self._selects = {int(o.outputs[0]): o for o in operators if self._code(o) in SELECTS}
        self._made: dict[Any, tuple[int, int]] = {}
        self._if = _operator_code(model, schema.BuiltinOperator.IF)

    def apply(self) -> None:
        choices = list(self._choices())
        inner = {tensor for choice in choices for tensor in choice.selects[1:]}
        outer = {c.selects[0]: c for c in choices if c.selects[0] not in inner}
        used = {int(b.outputs[0]) for choice in outer.values() for b in choice.branches}
        if used != set(self._branches) or not all(
            len(b.outputs) == 1 for b in self._branches.values()
        ):
            raise LoweringError(
                "the converter moved a branch of a choice; this is a bug of mtp-export"
            )
        gone, operators = used | inner, []
        for operator in self._subgraph.operators:
            made = int(operator.outputs[0])
            if made in outer:
                operators.append(self._if_operator(outer[made], made))
            elif made not in gone:
                operators.append(operator)
        self._subgraph.operators = operators

    def _choices(self) -> Iterator[_Choice]:
        """One for every ``where`` over a branch, inner ones of a chain too."""
        for output, select in self._selects.items():
            chosen, branches, selects, made = [], [], [output], select
            while made is not None and int(made.inputs[1]) in self._branches:
                condition, first, rest = map(int, made.inputs)
                chosen.append(condition)
                branches.append(self._branches[first])
                if rest in self._branches:
                    yield _Choice(chosen, [*branches, self._branches[rest]], selects)
                    break
                selects.append(rest)
                made = self._selects.get(rest)

    def _if_operator(self, choice: _Choice, output: int) -> Any:
        """The IF over all branches of a choice: the first, and one with the others in its own subgraph."""
        tensors = self._subgraph.tensors
        key = choice.names(), tuple((*tensors[t].shape, tensors[t].type) for t in choice.operands)
        if key not in self._made:
            self._made[key] = self._nested(choice, output)
        return self._made_if([*choice.chosen, *choice.operands], output, *self._made[key])

    def _nested(self, choice: _Choice, output: int) -> tuple[int, int]:
        """The subgraphs of the first branch and of all others."""
        then, other = (self._branch(branch) for branch in choice.branches[-2:])
        for level in range(len(choice.branches) - 2, 0, -1):
            inputs = [*choice.chosen[level:], *choice.operands]
            self._ignore(then, inputs[1 : -len(choice.operands)])
            subgraph = schema.SubGraphT()
            subgraph.name, subgraph.tensors = b"choice", []
            numbers = [self._copied(subgraph, tensor) for tensor in (*inputs, output)]
            subgraph.inputs = np.array(numbers[:-1], np.int32)
            subgraph.outputs = np.array(numbers[-1:], np.int32)
            subgraph.operators = [self._made_if(numbers[:-1], numbers[-1], then, other)]
            self._model.subgraphs.append(subgraph)
            other = len(self._model.subgraphs) - 1
            then = self._branch(choice.branches[level - 1])
        self._ignore(then, choice.chosen[1:])
        return then, other

    def _branch(self, composite: Any) -> int:
        """A composite's decomposition, without sizes that depend on its inputs' shapes."""
        index = int(composite.builtinOptions2.decompositionSubgraphIndex)
        length = int(composite.builtinOptions2.name[len(CHOICE_PREFIX) :])
        _loosen(self._model, self._model.subgraphs[index], length)
        return index

    def _ignore(self, index: int, unused: list[int]) -> None:
        """Give a branch inputs that it does not read: both sides of an IF take equally many."""
        subgraph = self._model.subgraphs[index]
        numbers = [self._copied(subgraph, tensor) for tensor in unused]
        subgraph.inputs = np.array([*numbers, *subgraph.inputs], np.int32)

    def _copied(self, subgraph: Any, tensor: int) -> int:
        """A tensor like one of the signature's, in another subgraph."""
        new = copy.copy(self._subgraph.tensors[tensor])
        new.buffer = 0
        subgraph.tensors.append(new)
        return len(subgraph.tensors) - 1

    def _made_if(self, inputs: list[int], output: int, then: int, other: int) -> Any:
        options = schema.IfOptionsT()
        options.thenSubgraphIndex, options.elseSubgraphIndex = then, other
        operator = schema.OperatorT()
        operator.opcodeIndex = self._if
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        operator.builtinOptionsType, operator.builtinOptions = (
            schema.BuiltinOptions.IfOptions,
            options,
        )
        return operator

    def _is_branch(self, operator: Any) -> bool:
        if self._code(operator) != schema.BuiltinOperator.STABLEHLO_COMPOSITE:
            return False
        return bool(operator.builtinOptions2.name.startswith(CHOICE_PREFIX.encode()))

    def _code(self, operator: Any) -> int:
        return int(self._model.operatorCodes[operator.opcodeIndex].builtinCode)


def _loosen(model: Any, subgraph: Any, length: int) -> None:
    """Let the number of slots in a branch, ``length`` or fewer, follow from its inputs."""
    clipping = None
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code == schema.BuiltinOperator.RESHAPE:
            sizes = _constant(model, subgraph, operator.inputs[1])
            if length in sizes and (sizes >= 0).all():
                sizes[np.flatnonzero(sizes == length)[-1]] = -1
            shape = _new_constant(model, subgraph, sizes)
            operator.inputs = np.array([operator.inputs[0], shape], np.int32)
            operator.builtinOptions = None
            operator.builtinOptionsType = schema.BuiltinOptions.NONE
        elif code == schema.BuiltinOperator.SLICE:
            begins, sizes = (_constant(model, subgraph, number) for number in operator.inputs[1:])
            bounds = (begins, begins + sizes, np.ones_like(sizes))
            places = [_new_constant(model, subgraph, values) for values in bounds]
            clipping = _operator_code(model, schema.BuiltinOperator.STRIDED_SLICE, clipping)
            operator.opcodeIndex = clipping
            operator.inputs = np.array([operator.inputs[0], *places], np.int32)
            operator.builtinOptions = schema.StridedSliceOptionsT()
            operator.builtinOptionsType = schema.BuiltinOptions.StridedSliceOptions


def _constant(model: Any, subgraph: Any, tensor: int) -> NDArray[np.int32]:
    kept = model.buffers[subgraph.tensors[tensor].buffer]
    return np.frombuffer(bytes(kept.data), np.int32).copy()


def _new_constant(model: Any, subgraph: Any, values: NDArray[np.int32]) -> int:
    """A tensor of int32 values."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(values.astype(np.int32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.name, tensor.type, tensor.hasRank = b"sizes", schema.TensorType.INT32, True
    tensor.shape, tensor.buffer = np.array(values.shape, np.int32), len(model.buffers) - 1
    subgraph.tensors.append(tensor)
    return len(subgraph.tensors) - 1


def _operator_code(model: Any, builtin: int, known: int | None = None) -> int:
    """Number of the code of a builtin operation that the converter did not use."""
    if known is not None:
        return known
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, 1
    code.deprecatedBuiltinCode = builtin
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _keep_reached(model: Any) -> None:
    """Drop the subgraphs that no operation names any more."""
    reached, left = list[int](), [signature.subgraphIndex for signature in model.signatureDefs]
    while left:
        index = left.pop()
        if index not in reached:
            reached.append(index)
            left += [getattr(*place) for place in _references(model.subgraphs[index])]
    numbers = {old: new for new, old in enumerate(sorted(reached))}
    model.subgraphs = [model.subgraphs[index] for index in sorted(reached)]
    for signature in model.signatureDefs:
        signature.subgraphIndex = numbers[signature.subgraphIndex]
    for subgraph in model.subgraphs:
        for options, name in _references(subgraph):
            setattr(options, name, numbers[getattr(options, name)])


def _references(subgraph: Any) -> Iterator[tuple[Any, str]]:
    """Options of its operations that name a subgraph."""
    for operator in subgraph.operators:
        for options in (operator.builtinOptions, operator.builtinOptions2):
            for name in SUBGRAPH_REFERENCES:
                if options is not None and hasattr(options, name):
                    yield options, name
