"""How each operator of a traced model is written in ONNX.

A function per operator: it is given the :class:`Call` being translated and torch's arguments, and
appends nodes. Arguments that are tensors arrive as :class:`Value`, constants included; everything
else as torch has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporter.errors import LoweringError
from exporter.onnx.graph_builder import ELEMENT_TYPES, GraphBuilder, Value

Number = int | float | bool
Translate = Callable[..., None]


@dataclass
class Call:
    """One call of an operator: where its nodes go and what its results are to be called."""

    builder: GraphBuilder
    name: str
    results: tuple[Value, ...]
    steps: int = 0

    @property
    def result(self) -> Value:
        return self.results[0]

    def emit(self, operator: str, inputs: Sequence[Value | None], **attributes: Any) -> None:
        """The node that gives the results."""
        self.builder.node(operator, inputs, self.results, **attributes)

    def step(
        self,
        operator: str,
        inputs: Sequence[Value],
        shape: Sequence[int],
        dtype: str | None = None,
        **attributes: Any,
    ) -> Value:
        """A node on the way; its result has the type of its first input, if not another."""
        self.steps += 1
        value = Value(f"{self.name}.{self.steps}", tuple(shape), dtype or inputs[0].dtype)
        self.builder.node(operator, inputs, [value], **attributes)
        return value

    def integers(self, *numbers: int) -> Value:
        """Axes, shapes, bounds: a constant int64 ``[N]``."""
        return self.builder.constant(np.array(numbers, dtype=np.int64))

    def number(self, number: Number, dtype: str) -> Value:
        """A scalar constant."""
        return self.builder.constant(np.array(number, dtype=dtype))

    def alike(self, *operands: Value | Number) -> list[Value]:
        """Operands of one type: numbers take that of the tensors.

        Raises:
            LoweringError: The tensors are of different types.
        """
        types = {operand.dtype for operand in operands if isinstance(operand, Value)}
        if len(types) != 1:
            raise LoweringError(f"{self.name} mixes {' and '.join(sorted(types))}, unlike ONNX")
        (dtype,) = types
        return [x if isinstance(x, Value) else self.number(x, dtype) for x in operands]


def linear(call: Call, x: Value, weight: Value) -> None:
    """``x`` ``[..., K]`` by ``weight`` ``[N, K]``; ``bind`` looks for exactly these two nodes."""
    turned = call.step("Transpose", [weight], weight.shape[::-1], perm=[1, 0])
    call.emit("MatMul", [x, turned])


def embedding(call: Call, rows: Value, indices: Value) -> None:
    """Rows by number; ``bind`` looks for this node, too."""
    call.emit("Gather", [rows, indices], axis=0)


def multiply(call: Call, x: Value | Number, y: Value | Number) -> None:
    """A product; by a reciprocal root, the division that runtimes know RMS norms by."""
    left, right = call.alike(x, y)
    for one, other in ((left, right), (right, left)):
        if root := call.builder.inputs_of(other, "Reciprocal"):
            call.emit("Div", [one, call.builder.value(root[0])])
            return
    call.emit("Mul", [left, right])


def reciprocal_root(call: Call, x: Value) -> None:
    """``1 / sqrt(x)``."""
    call.emit("Reciprocal", [call.step("Sqrt", [x], x.shape)])


def square(call: Call, x: Value) -> None:
    """A power, which is how runtimes know RMS norms."""
    call.emit("Pow", [x, call.number(2.0, x.dtype)])


def mean(call: Call, x: Value, axes: Sequence[int], keepdim: bool = False) -> None:
    """The mean over some axes."""
    call.emit("ReduceMean", [x, call.integers(*axes)], keepdims=int(keepdim))


def sum_over(call: Call, x: Value, axes: Sequence[int], keepdim: bool = False) -> None:
    """The sum over some axes."""
    call.emit("ReduceSum", [x, call.integers(*axes)], keepdims=int(keepdim))


def total(call: Call, x: Value, *_: object, **__: object) -> None:
    """The sum of all elements; torch may want it in a type of its own."""
    assert call.result.shape == ()
    assert call.result.dtype == x.dtype
    call.emit("ReduceSum", [x], keepdims=0)


def anywhere(call: Call, x: Value, axis: int, keepdim: bool = False) -> None:
    """Whether some element along an axis is true; ONNX has that for numbers only."""
    numbers = call.step("Cast", [x], x.shape, dtype="int32", to=ELEMENT_TYPES["int32"])
    highest = call.step(
        "ReduceMax", [numbers, call.integers(axis)], call.result.shape, keepdims=int(keepdim)
    )
    call.emit("Cast", [highest], to=ELEMENT_TYPES["bool"])


def clamp(call: Call, x: Value, low: Number | None = None, high: Number | None = None) -> None:
    """Limits on one side or both."""
    limits = [None if limit is None else call.number(limit, x.dtype) for limit in (low, high)]
    call.emit("Clip", [x, *limits])


def cast(call: Call, x: Value, *_: object, **__: object) -> None:
    """Another type; which one, the result says."""
    call.emit("Cast", [x], to=ELEMENT_TYPES[call.result.dtype])


def reshape(call: Call, x: Value, _: Sequence[int]) -> None:
    """Another shape of the same elements."""
    call.emit("Reshape", [x, call.builder.sizes(call.result.shape)])


def permute(call: Call, x: Value, axes: Sequence[int]) -> None:
    """The axes in another order."""
    call.emit("Transpose", [x], perm=list(axes))


def transpose(call: Call, x: Value, one: int, other: int) -> None:
    """Two axes swapped."""
    axes = list(range(len(x.shape)))
    axes[one], axes[other] = axes[other], axes[one]
    call.emit("Transpose", [x], perm=axes)


def concatenate(call: Call, parts: Sequence[Value], axis: int = 0) -> None:
    """One after the other."""
    call.emit("Concat", parts, axis=axis)


def chunk(call: Call, x: Value, _: int, axis: int = 0) -> None:
    """Equal parts, one result each."""
    sizes = call.integers(*(part.shape[axis] for part in call.results))
    call.emit("Split", [x, sizes], axis=axis)


def unbind(call: Call, x: Value, axis: int = 0) -> None:
    """Every entry along an axis, which goes: one result each."""
    for index, entry in enumerate(call.results):
        call.builder.node("Gather", [x, call.number(index, "int64")], [entry], axis=axis)


def select(call: Call, x: Value, axis: int, index: int) -> None:
    """One entry along an axis, which goes."""
    call.emit("Gather", [x, call.number(index, "int64")], axis=axis)


def index_select(call: Call, x: Value, axis: int, indices: Value) -> None:
    """Entries along an axis, by number."""
    call.emit("Gather", [x, indices], axis=axis)


def where(call: Call, condition: Value, yes: Value | Number, no: Value | Number) -> None:
    """One or the other, element by element; two numbers take the result's type."""
    if isinstance(yes, Value) or isinstance(no, Value):
        call.emit("Where", [condition, *call.alike(yes, no)])
    else:
        dtype = call.result.dtype
        call.emit("Where", [condition, call.number(yes, dtype), call.number(no, dtype)])


def softmax(call: Call, x: Value, axis: int) -> None:
    """Probabilities along an axis."""
    call.emit("Softmax", [x], axis=axis)


def gelu(call: Call, x: Value, *, approximate: str = "none") -> None:
    """GELU, exact or by tanh."""
    call.emit("Gelu", [x], approximate=approximate)


def topk(call: Call, x: Value, count: int, axis: int = -1) -> None:
    """The largest along an axis and where they are, the largest first."""
    call.emit("TopK", [x, call.integers(count)], axis=axis)


def scatter(call: Call, x: Value, axis: int, indices: Value, source: Value) -> None:
    """``x`` with some elements replaced."""
    call.emit("ScatterElements", [x, indices, source], axis=axis)


def cut(
    call: Call,
    x: Value,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> None:
    """Entries of an axis from ``start`` to ``end``, which are known; without them from or to its end."""
    bounds = (start or 0, x.shape[axis] if end is None else end, axis, step)
    call.emit("Slice", [x, *(call.integers(number) for number in bounds)])


def stretch(call: Call, x: Value, start: Value, axis: int, length: int) -> None:
    """``length`` entries from ``start`` on."""
    begin = call.step("Reshape", [start, call.integers(1)], [1])
    size = call.builder.constant(np.array([length], dtype=begin.dtype))
    end = call.step("Add", [begin, size], [1])
    axes = call.builder.constant(np.array([axis], dtype=begin.dtype))
    call.emit("Slice", [x, begin, end, axes])


def update_slice(call: Call, x: Value, update: Value, starts: Sequence[Value]) -> None:
    """``x`` with ``update`` written along the one axis on which it is shorter.

    A scatter writes into its input's memory if the runtime lets it, as a cache wants. It counts the
    entries of that axis from ``starts``; where the update fills the axis, there is nothing to count.

    Raises:
        LoweringError: It is shorter on several axes.
    """
    sizes = zip(x.shape, update.shape, strict=True)
    shorter = [axis for axis, (whole, part) in enumerate(sizes) if whole != part] or [0]
    if len(shorter) != 1:
        raise LoweringError(f"{call.name} updates several axes at once, {shorter}")
    (axis,) = shorter
    shape = [update.shape[axis] if i == axis else 1 for i in range(len(x.shape))]
    entries = np.arange(update.shape[axis], dtype=np.dtype(starts[axis].dtype)).reshape(shape)
    slots = call.step("Add", [starts[axis], call.builder.constant(entries)], shape)
    indices = call.step("Expand", [slots, call.integers(*update.shape)], update.shape)
    call.emit("ScatterElements", [x, indices, update], axis=axis)


def elementwise(operator: str) -> Translate:
    """An operator of one or two operands that ONNX has, too."""

    def translate(call: Call, *operands: Value | Number) -> None:
        call.emit(operator, call.alike(*operands))

    return translate


OPERATORS: dict[str, Translate] = {
    "aten.__and__.Tensor": elementwise("And"),
    "aten.add.Tensor": elementwise("Add"),
    "aten.alias.default": elementwise("Identity"),
    "aten.any.dim": anywhere,
    "aten.cat.default": concatenate,
    "aten.chunk.default": chunk,
    "aten.clamp.default": clamp,
    "aten.cos.default": elementwise("Cos"),
    "aten.div.Tensor": elementwise("Div"),
    "aten.embedding.default": embedding,
    "aten.ge.Scalar": elementwise("GreaterOrEqual"),
    "aten.ge.Tensor": elementwise("GreaterOrEqual"),
    "aten.gelu.default": gelu,
    "aten.index_select.default": index_select,
    "aten.linear.default": linear,
    "aten.matmul.default": elementwise("MatMul"),
    "aten.mean.dim": mean,
    "aten.mul.Tensor": multiply,
    "aten.permute.default": permute,
    "aten.reshape.default": reshape,
    "aten.rsqrt.default": reciprocal_root,
    "aten.scatter.src": scatter,
    "aten.select.int": select,
    "aten.sin.default": elementwise("Sin"),
    "aten.slice.Tensor": cut,
    "aten.softmax.int": softmax,
    "aten.square.default": square,
    "aten.sub.Tensor": elementwise("Sub"),
    "aten.sum.default": total,
    "aten.sum.dim_IntList": sum_over,
    "aten.tanh.default": elementwise("Tanh"),
    "aten.to.dtype": cast,
    "aten.topk.default": topk,
    "aten.transpose.int": transpose,
    "aten.unbind.int": unbind,
    "aten.where.Scalar": where,
    "aten.where.self": where,
    "litert_torch.dynamic_update_slice.default": update_slice,
    "mtp_export.stretch.default": stretch,
}
"""By torch's name of the operator."""
