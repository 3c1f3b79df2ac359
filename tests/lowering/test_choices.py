"""Attention that chooses a length by what is filled: in LiteRT it is attention over all slots."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.contract.names import Accelerator
from exporter.errors import LoweringError
from exporter.lowering.choices import FEW_SLOTS, with_choices
from exporter.model.text.filled import FilledView, lengths_below, of_filled
from exporter.model.text.kv import Kv, View
from exporter.model.text.kv_int8 import Int8Kv, Scales
from exporter.model.text.layers import FEW_ROWS, Rotation, attend
from runtime_py.litert.c_api import Environment, HostBuffer
from runtime_py.litert.compiled_model import CompiledModel
from runtime_py.litert.hardware import cpu_options
from runtime_py.litert.resized_graph import Resizing

PLACEHOLDER, LENGTHS = 97, (16, 32, 48)
HEADS, KV_HEADS, HEAD_DIM = 4, 2, 8
NAME = "attend"
CAST = schema.BuiltinOperator.DEQUANTIZE
TOLERANCE = 1e-5
"""Of the largest value: kernels sum in another order than torch."""


class Attention(nn.Module):
    """Two layers over the same caches, int8 if the values are."""

    lengths: Sequence[int] = LENGTHS

    def forward(
        self, queries: Tensor, mask: Tensor, keys: Tensor, values: Tensor, scales: Tensor
    ) -> Tensor:
        kv = Kv(keys, values)
        if keys.dtype is torch.int8:
            kv = Int8Kv(keys, values, Scales(scales, scales * 2))
        view = of_filled(kv, View.of_all(Rotation(scales, scales), mask), mask, self.lengths)
        assert isinstance(view, FilledView)
        once = view.attend(queries, kv).reshape(queries.shape)
        return view.attend(queries + once, kv)


class Prefill(Attention):
    """Of so many tokens that they attend in groups, of different numbers of slots."""

    tokens, placeholder, lengths = 600, 1301, (700, 1000)


class Misused(Attention):
    """Takes a branch without choosing it."""

    def forward(
        self, queries: Tensor, mask: Tensor, keys: Tensor, values: Tensor, scales: Tensor
    ) -> Tensor:
        kv = Kv(keys, values)
        view = of_filled(kv, View.of_all(Rotation(scales, scales), mask), mask, LENGTHS)
        assert isinstance(view, FilledView)
        return view._over(16, queries, kv)


def inputs(tokens: int, slots: int, kv_dtype: torch.dtype, filled: int) -> dict[str, Tensor]:
    """Random ones, of which ``filled`` slots are seen by the last token, one less by the one before."""
    source = torch.Generator().manual_seed(filled)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=source)

    seen = torch.arange(slots) < torch.arange(filled - tokens + 1, filled + 1)[:, None]
    scale = 20 if kv_dtype is torch.int8 else 1
    return {
        "queries": random(1, tokens, HEADS, HEAD_DIM),
        "mask": seen.reshape(1, 1, tokens, slots),
        "keys": (random(1, KV_HEADS, slots, HEAD_DIM) * scale).to(kv_dtype),
        "values": (random(1, KV_HEADS, HEAD_DIM, slots) * scale).to(kv_dtype),
        "scales": random(1, 1, 1, HEAD_DIM).abs() / scale,
    }


def plain(given: dict[str, Tensor]) -> Tensor:
    """What :class:`Attention` computes, over all slots."""
    scales = given["scales"] if given["keys"].dtype is torch.int8 else torch.ones(1)
    twice = scales * 2 if given["keys"].dtype is torch.int8 else scales
    kv = Kv(given["keys"] * scales, given["values"] * twice.reshape(1, 1, -1, 1))
    view = View.of_all(Rotation(scales, scales), given["mask"])
    queries = given["queries"]
    return attend(queries + attend(queries, kv, view).reshape(queries.shape), kv, view)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    assert (found - expected).abs().max() < TOLERANCE * expected.abs().max()


def lowered(
    module: nn.Module, tokens: int, kv_dtype: torch.dtype, placeholder: int = PLACEHOLDER
) -> bytes:
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    import litert_torch

    example = inputs(tokens, placeholder, kv_dtype, tokens)
    content = litert_torch.signature(NAME, module.eval(), sample_kwargs=example).convert()
    return bytes(content.model_content())


@cache
def attention(tokens: int, kv_dtype: torch.dtype) -> bytes:
    """Lowered once for all tests; its choices are still composites."""
    return lowered(Attention(), tokens, kv_dtype)


@cache
def prefill(kv_dtype: torch.dtype) -> bytes:
    """As :func:`attention`, of :class:`Prefill`, with its choices."""
    return with_choices(lowered(Prefill(), Prefill.tokens, kv_dtype, Prefill.placeholder))


def sizes_set(graph: bytes, slots: int, placeholder: int) -> NDArray[np.uint8]:
    """The graph with another number of slots, in the signature's subgraph only, as the engine does it."""
    model = schema.Model.GetRootAs(graph, 0)
    kept = [
        (tensor.ShapeAsNumpy().copy(), subgraph, index)
        for subgraph in range(1, model.SubgraphsLength())
        for index in range(model.Subgraphs(subgraph).TensorsLength())
        if (tensor := model.Subgraphs(subgraph).Tensors(index)).ShapeLength()
    ]
    content = bytearray(graph)
    Resizing(placeholder, slots).apply(memoryview(content))
    edited = schema.Model.GetRootAs(content, 0)
    for shape, subgraph, index in kept:
        edited.Subgraphs(subgraph).Tensors(index).ShapeAsNumpy()[...] = shape
    return np.frombuffer(content, np.uint8)


class Runner:
    """A graph in LiteRT, with caches of some length."""

    def __init__(
        self, environment: Environment, graph: bytes, slots: int, placeholder: int = PLACEHOLDER
    ) -> None:
        sized = sizes_set(graph, slots, placeholder)
        self._model = CompiledModel(environment, sized, cpu_options(threads=2))
        tensors = self._model.signatures[NAME]
        self._inputs = {n: HostBuffer(environment, t) for n, t in tensors.inputs.items()}
        self._outputs = {n: HostBuffer(environment, t) for n, t in tensors.outputs.items()}
        self._call = self._model.call(NAME, self._inputs, self._outputs)

    def __call__(self, given: dict[str, Tensor]) -> Tensor:
        for name, buffer in self._inputs.items():
            buffer.write(given[name].numpy())
        self._call()
        (output,) = self._outputs.values()
        return torch.from_numpy(output.read())

    def close(self) -> None:
        self._model.close()


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    made = Environment(Accelerator.CPU)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("tokens", "kv_dtype"),
    [
        (1, torch.float32),
        (3, torch.float32),
        (3, torch.int8),
        (18, torch.float32),
        (18, torch.int8),
    ],
)
def test_any_length_gives_attention_over_all_slots(
    environment: Environment, tokens: int, kv_dtype: torch.dtype
) -> None:
    graph = with_choices(attention(tokens, kv_dtype))
    for slots in (20, 40, 60, 96):
        runner = Runner(environment, graph, slots)
        for filled in (3, 16, 17, 32, 33, 20, 48, 49, 60, 96, 5):
            if tokens <= filled <= slots:
                given = inputs(tokens, slots, kv_dtype, filled)
                assert_equal(runner(given), plain(given))
        runner.close()


@pytest.mark.parametrize("kv_dtype", [torch.float32, torch.int8])
def test_a_prefill_in_groups(environment: Environment, kv_dtype: torch.dtype) -> None:
    """Of each pair the first token's slot and how many tokens are none of the padding."""
    tokens, placeholder = Prefill.tokens, Prefill.placeholder
    graph = prefill(kv_dtype)
    for slots in (620, 1300):  # a branch is for more than the first
        runner = Runner(environment, graph, slots, placeholder)
        for first, real in ((0, 600), (20, 600), (101, 599), (399, 80), (402, 600), (650, 30)):
            if first + real <= slots:
                given = inputs(tokens, slots, kv_dtype, first + tokens)
                given["mask"][:, :, real:] = False
                expected = plain(given)[:, :real]
                assert_equal(runner(given)[:, :real], expected)
                assert_equal(Prefill()(**given)[:, :real], expected)
        runner.close()


def test_a_group_meets_no_slots_behind_its_tokens(environment: Environment) -> None:
    """Slots that hold no number show which are read."""
    tokens, placeholder = Prefill.tokens, Prefill.placeholder
    graph = prefill(torch.float32)
    runner = Runner(environment, graph, 1300, placeholder)
    for first, met in ((50, 356), (101, 656), (401, 1300)):  # of the first 256 tokens
        given = inputs(tokens, 1300, torch.float32, first + tokens)
        expected = plain(given)[:, :256]
        given["keys"][:, :, met:] = torch.nan
        assert_equal(runner(given)[:, :256], expected)
        given["keys"][:, :, met - 1] = torch.nan
        assert runner(given)[:, :256].isnan().all()
    runner.close()


def test_layers_share_branches_and_nothing_else_is_left() -> None:
    graph = attention(1, torch.float32)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(with_choices(graph), 0))
    codes = [model.operatorCodes[o.opcodeIndex].builtinCode for o in model.subgraphs[0].operators]
    assert codes.count(schema.BuiltinOperator.IF) == 2 * (len(LENGTHS) + 1)
    assert schema.BuiltinOperator.STABLEHLO_COMPOSITE not in codes
    assert len(model.subgraphs) == 1 + 2 * (len(LENGTHS) + 1)


def test_xnnpack_can_take_all_of_a_prefill() -> None:
    """It takes no booleans. What it leaves parts a branch, and scores of all pieces come before it."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(prefill(torch.float32), 0))
    branches = [subgraph for subgraph in model.subgraphs[1:] if len(subgraph.operators)]
    assert len(branches) == len(Prefill.lengths) + 1
    for branch in branches:
        kinds = {tensor.type for tensor in branch.tensors}
        assert kinds == {schema.TensorType.FLOAT32, schema.TensorType.INT8, schema.TensorType.INT32}


def test_branches_begin_with_few_slots() -> None:
    """XNNPACK reserves memory for the slots of a branch's tensors before the first run."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(prefill(torch.int8), 0))
    assert any(Prefill.placeholder in tensor.shape for tensor in model.subgraphs[0].tensors)
    branches = [subgraph for subgraph in model.subgraphs[1:] if len(subgraph.operators)]
    for branch in branches:
        assert not any(Prefill.placeholder in tensor.shape for tensor in branch.tensors)


def test_codes_of_all_slots_are_cast_for_every_piece() -> None:
    """Shared, all of them are in memory as floats: 131 MB of 32,000 slots of E2B."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(prefill(torch.int8), 0))
    branch = [subgraph for subgraph in model.subgraphs[1:] if len(subgraph.operators)][-1]
    cast = [
        tuple(branch.tensors[operator.outputs[0]].shape)
        for operator in branch.operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode == CAST
    ]
    pieces = -(-Prefill.tokens // (FEW_ROWS * KV_HEADS // HEADS))
    assert cast.count((1, KV_HEADS, FEW_SLOTS, HEAD_DIM)) == pieces
    assert cast.count((1, KV_HEADS, HEAD_DIM, FEW_SLOTS)) == pieces


def test_what_is_filled_decides_which_branch_runs(environment: Environment) -> None:
    """Slots past the branch's may hold anything, even what no product survives."""
    runner = Runner(environment, with_choices(attention(1, torch.float32)), 96)
    for filled, length in ((16, 16), (17, 32), (33, 96)):
        given = inputs(1, 96, torch.float32, filled)
        expected = plain(given)
        given["keys"][:, :, length:] = torch.nan  # 48 is too near to 96 for a call of one token
        assert_equal(runner(given), expected)
        given["keys"][:, :, length - 1] = torch.nan
        assert runner(given).isnan().all()
    runner.close()


def test_a_graph_without_choices_is_left_alone() -> None:
    assert with_choices(b"no composites") == b"no composites"


def test_a_branch_that_is_not_chosen_is_refused() -> None:
    with pytest.raises(LoweringError, match="moved a branch"):
        with_choices(lowered(Misused(), 1, torch.float32))


def test_lengths() -> None:
    assert lengths_below(500) == ()
    assert lengths_below(4096) == (512, 1024, 2048)
    assert lengths_below(32771) == (512, 1024, 2048, 3072, 4096, 6144, 8192)


def test_eager_is_attention_over_all_slots() -> None:
    for filled in (3, 17, 96):
        given: dict[str, Any] = inputs(3, 96, torch.float32, filled)
        assert_equal(Attention()(**given), plain(given))
