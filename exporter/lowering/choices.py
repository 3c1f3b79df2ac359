"""Choices between composites as IF operations: the branch that is not taken costs nothing.

Torch has one way to choose a tensor that survives lowering, ``torch.where``, and it computes both sides. So
a choice is traced as ``where(chosen, branch, before)`` for each branch, a composite, and here, in the
flatbuffer, the composite's decomposition becomes a branch of an IF, whose other side gives ``before`` back.
(One IF inside the other costs more: LiteRT prepares all of a side's own branches at each run.) LiteRT hands
caches to a branch by address, and gives a branch's operations to XNNPACK as it does a signature's.

Subgraphs of branches are no signatures, so the stock engine does not put the cache length into them. They
need none: LiteRT gives their inputs the shapes of the operands at every run, and all others follow, if no
operation has one as a parameter. So of RESHAPE's sizes the one that follows from the others becomes -1, and
SLICE becomes STRIDED_SLICE, which takes what there is where a cache has fewer slots than the branch is for.

Codes of int8 caches are cast in branches. XNNPACK takes no CAST, and LiteRT gives the memory of its own
operations back after each branch, to ask for it again at the next; so codes have a scale of 1 there, and
CAST becomes DEQUANTIZE, which XNNPACK takes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.contract.names import CHOICE_PREFIX
from exporter.errors import LoweringError
from exporter.lowering.merge import FILE_IDENTIFIER, SUBGRAPH_REFERENCES

FEW_SLOTS = 16
"""Of tensors in a branch, before it runs."""

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


class _Choices:
    """Rewrites the choices of one subgraph."""

    def __init__(self, model: Any, subgraph: Any) -> None:
        self._model, self._subgraph = model, subgraph
        operators = subgraph.operators
        self._branches = {int(o.outputs[0]): o for o in operators if self._is_branch(o)}
        self._made: dict[Any, tuple[int, int]] = {}
        self._if = _operator_code(model, schema.BuiltinOperator.IF)

    def apply(self) -> None:
        """One IF for each ``where`` over a branch."""
        left, operators = dict(self._branches), []
        for operator in self._subgraph.operators:
            if self._is_branch(operator):
                continue
            if self._code(operator) in SELECTS and int(operator.inputs[1]) in left:
                branch = left.pop(int(operator.inputs[1]))
                operators.append(self._if_operator(operator, branch))
            else:
                operators.append(operator)
        read = {int(tensor) for operator in operators for tensor in operator.inputs}
        if left or read & set(self._branches):
            raise LoweringError(
                "the converter moved a branch of a choice; this is a bug of mtp-export"
            )
        self._subgraph.operators = operators

    def _if_operator(self, select: Any, composite: Any) -> Any:
        """A branch where its condition holds, else what was there before."""
        condition, _, before = map(int, select.inputs)
        operands = [int(tensor) for tensor in composite.inputs]
        tensors = self._subgraph.tensors
        shapes = tuple((*tensors[t].shape, tensors[t].type) for t in (before, *operands))
        key = composite.builtinOptions2.name, shapes
        if key not in self._made:
            then = self._branch(composite)
            self._ignore(then, before)
            self._made[key] = then, self._unchanged([before, *operands])
        options = schema.IfOptionsT()
        options.thenSubgraphIndex, options.elseSubgraphIndex = self._made[key]
        made = schema.OperatorT()
        made.opcodeIndex, made.outputs = self._if, select.outputs
        made.inputs = np.array([condition, before, *operands], np.int32)
        made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.IfOptions, options
        return made

    def _unchanged(self, inputs: list[int]) -> int:
        """A subgraph that gives its first input back."""
        subgraph = schema.SubGraphT()
        subgraph.name, subgraph.tensors, subgraph.operators = b"unchanged", [], []
        numbers = [self._copied(subgraph, tensor) for tensor in inputs]
        subgraph.inputs = np.array(numbers, np.int32)
        subgraph.outputs = np.array(numbers[:1], np.int32)
        self._model.subgraphs.append(subgraph)
        return len(self._model.subgraphs) - 1

    def _branch(self, composite: Any) -> int:
        """A composite's decomposition, without sizes that depend on its inputs' shapes."""
        index = int(composite.builtinOptions2.decompositionSubgraphIndex)
        counts = composite.builtinOptions2.name[len(CHOICE_PREFIX) :].split(b"_")
        subgraph, slots = self._model.subgraphs[index], self._slots(composite)
        _merge_slices(self._model, subgraph)
        if int(counts[0]) == slots and self._has_codes(composite):
            _cast_anew(self._model, subgraph)
        _shorten(subgraph, slots)
        _loosen(self._model, subgraph, list(map(int, counts)))
        return index

    def _slots(self, composite: Any) -> int:
        """Of all caches: the last axis of its second operand, which tells what is seen."""
        return int(self._subgraph.tensors[int(composite.inputs[1])].shape[-1])

    def _has_codes(self, composite: Any) -> bool:
        """Whether the caches are int8; keys are its third operand."""
        keys = self._subgraph.tensors[int(composite.inputs[2])]
        return bool(keys.type == schema.TensorType.INT8)

    def _ignore(self, index: int, unused: int) -> None:
        """Give a branch a first input that it does not read: both sides of an IF take equally many."""
        subgraph = self._model.subgraphs[index]
        subgraph.inputs = np.array([self._copied(subgraph, unused), *subgraph.inputs], np.int32)

    def _copied(self, subgraph: Any, tensor: int) -> int:
        """A tensor like one of the signature's, in another subgraph."""
        new = copy.copy(self._subgraph.tensors[tensor])
        new.buffer = 0
        subgraph.tensors.append(new)
        return len(subgraph.tensors) - 1

    def _is_branch(self, operator: Any) -> bool:
        if self._code(operator) != schema.BuiltinOperator.STABLEHLO_COMPOSITE:
            return False
        return bool(operator.builtinOptions2.name.startswith(CHOICE_PREFIX.encode()))

    def _code(self, operator: Any) -> int:
        return int(self._model.operatorCodes[operator.opcodeIndex].builtinCode)


def _shorten(subgraph: Any, slots: int) -> None:
    """Let tensors of a branch begin with few slots: XNNPACK reserves memory for as many as there are.

    A run gives them their real shapes, and more memory where it is needed.
    """
    for tensor in subgraph.tensors:
        shape = np.array(tensor.shape, np.int32)
        tensor.shape = np.where(shape == slots, min(slots, FEW_SLOTS), shape)


def _cast_anew(model: Any, subgraph: Any) -> None:
    """Cut and cast codes again for every operation that takes them.

    The converter lets all pieces of a prefill share what each casts, a few channels at a time; then all
    channels of all slots would be in memory as floats.
    """
    codes = {int(t) for t in subgraph.inputs if _type(subgraph, t) == schema.TensorType.INT8}
    cast: dict[int, Any] = {}
    operators: list[Any] = []

    def again(tensor: int) -> int:
        if tensor not in cast:
            return tensor
        made = copy.copy(cast[tensor])
        made.inputs = np.array([again(int(read)) for read in made.inputs], np.int32)
        subgraph.tensors.append(copy.copy(subgraph.tensors[tensor]))
        made.outputs = np.array([len(subgraph.tensors) - 1], np.int32)
        operators.append(made)
        return len(subgraph.tensors) - 1

    for operator in subgraph.operators:
        read = {int(t) for t in operator.inputs if not _is_constant(model, subgraph, t)}
        if read and read <= codes | cast.keys():
            cast[int(operator.outputs[0])] = operator
        else:
            operator.inputs = np.array([again(int(t)) for t in operator.inputs], np.int32)
            operators.append(operator)
    subgraph.operators = operators


def _merge_slices(model: Any, subgraph: Any) -> None:
    """Slice once what is sliced on two axes: the first slice may copy far more than the second leaves."""
    codes = [model.operatorCodes[o.opcodeIndex].builtinCode for o in subgraph.operators]
    slices = {
        int(operator.outputs[0]): operator
        for operator, code in zip(subgraph.operators, codes, strict=True)
        if code == schema.BuiltinOperator.SLICE
    }
    for operator in slices.values():
        if (before := slices.get(int(operator.inputs[0]))) is not None:
            begins = [_constant(model, subgraph, o.inputs[1]) for o in (before, operator)]
            begin = _new_constant(model, subgraph, np.sum(begins, axis=0))
            operator.inputs = np.array([before.inputs[0], begin, operator.inputs[2]], np.int32)
    read = {int(tensor) for operator in subgraph.operators for tensor in operator.inputs}
    unread = slices.keys() - read - set(map(int, subgraph.outputs))
    subgraph.operators = [o for o in subgraph.operators if int(o.outputs[0]) not in unread]


def _loosen(model: Any, subgraph: Any, counts: list[int]) -> None:
    """Let numbers of slots in a branch, ``counts`` or fewer, follow from its inputs."""
    clipping = decoding = None
    for tensor in subgraph.tensors:
        if tensor.type == schema.TensorType.INT8:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0], [0]
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code == schema.BuiltinOperator.RESHAPE:
            sizes = _constant(model, subgraph, operator.inputs[1])
            slots = np.flatnonzero(np.isin(sizes, counts))
            if len(slots) and (sizes >= 0).all():
                sizes[slots[-1]] = -1
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
        elif code == schema.BuiltinOperator.CAST:
            (codes,) = operator.inputs
            if subgraph.tensors[codes].type == schema.TensorType.INT8:
                decoding = _operator_code(model, schema.BuiltinOperator.DEQUANTIZE, decoding)
                operator.opcodeIndex = decoding
                operator.builtinOptions = schema.DequantizeOptionsT()
                operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions


def _type(subgraph: Any, tensor: int) -> int:
    return int(subgraph.tensors[tensor].type)


def _is_constant(model: Any, subgraph: Any, tensor: int) -> bool:
    data = model.buffers[subgraph.tensors[tensor].buffer].data
    return tensor < 0 or (data is not None and len(data) > 0)


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
