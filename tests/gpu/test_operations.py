"""What the graphs for a GPU are made of: accepted by the delegate, and computed right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from exporter.checkpoints.architecture import Rope
from exporter.contract.names import PARAM_TENSOR, key_cache, value_cache
from exporter.errors import EngineError
from exporter.model.text.kv import Kv
from exporter.model.text.kv_gpu import GpuKv, SelectingView
from exporter.model.text.layers import MASKED_SCORE, Rotation, attend
from exporter.model.text.rope_tables import looked_up, rope_frequencies
from exporter.model.text.slots import stretch
from runtime_py.litert.compiled_model import CompileOptions
from runtime_py.litert.gpu.cache import from_device, to_device
from tests.gpu.operations import (
    FLOAT16,
    FLOAT32,
    Function,
    compiled,
    fully_accelerated,
    least_seconds,
    lowered,
    run,
)

TOLERANCE = 1e-5
"""Of the largest magnitude: sums in another order. A wrong slot, head or layout is off by 1."""

ROTATION_TOLERANCE = 1e-3
"""Of cosines at positions up to 4000: float32 rounds such an angle to 2e-4 before any cosine."""

SLOTS, HEAD_DIM, STALE = 64, 32, 7.0
KEYS, VALUES = key_cache(0), value_cache(0)

Tensors = dict[str, Tensor]


def on_gpu(
    function: Function,
    inputs: Mapping[str, Tensor],
    written: Mapping[str, str] | None = None,
    options: CompileOptions = FLOAT32,
) -> Tensors:
    """Results of a function of which the delegate must run every node."""
    with compiled(lowered(function, inputs), options) as model:
        assert fully_accelerated(model)
        found = run(model, inputs, written or {})
    return {name: torch.from_numpy(values) for name, values in found.items()}


def assert_close(ours: Tensor, reference: Tensor, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == reference.shape
    assert float((ours - reference).abs().max()) <= tolerance * float(reference.abs().max())


def caches(kv_heads: int, head_dim: int = HEAD_DIM) -> Tensors:
    torch.manual_seed(kv_heads)
    keys = torch.randn(1, kv_heads, SLOTS, head_dim)
    return {KEYS: keys, VALUES: torch.randn(1, kv_heads, head_dim, SLOTS)}


def params(start: int, end: int) -> Tensor:
    return torch.tensor([start, end, end, 0, 0, 0, 0], dtype=torch.int32).reshape(1, 1, 1, 7)


@pytest.mark.parametrize("of_keys", [True, False])
def test_the_layout_of_caches_is_undone(of_keys: bool) -> None:
    values = np.arange(2 * 8 * 16, dtype=np.float32).reshape(1, 2, 8, 16)
    assert np.array_equal(from_device(to_device(values, of_keys=of_keys), of_keys=of_keys), values)


@pytest.mark.parametrize(("kv_heads", "head_dim"), [(1, 32), (2, 32), (1, 256), (2, 512)])
def test_products_over_the_cache(kv_heads: int, head_dim: int) -> None:
    """As many slots as are in use; the columns of the others may hold anything."""
    used, stored = 21, caches(kv_heads, head_dim)
    rows = torch.randn(1, kv_heads, 8, head_dim)
    weights = torch.rand(1, kv_heads, 8, SLOTS) * (torch.arange(SLOTS) < used)

    def products(rows: Tensor, weights: Tensor, **given: Tensor) -> Tensors:
        kv = GpuKv(given[KEYS], given[VALUES], given[PARAM_TENSOR])
        return {"scores": kv.scores(rows), "mixed": kv.mixed(weights)}

    inputs = {"rows": rows, "weights": weights, **stored, PARAM_TENSOR: params(20, used)}
    found, expected = on_gpu(products, inputs), Kv(stored[KEYS], stored[VALUES])
    assert_close(found["scores"][..., :used], expected.scores(rows)[..., :used])
    assert_close(found["mixed"], expected.mixed(weights))


def test_attention_costs_what_is_in_use() -> None:
    """Long caches cost a short conversation little: the products read the slots in use and no others."""
    tokens, slots, head_dim = 4, 8192, 256
    torch.manual_seed(3)
    inputs = {
        "queries": torch.randn(1, tokens, 8, head_dim),
        "mask": torch.ones(1, 1, tokens, slots, dtype=torch.bool),
        KEYS: torch.randn(1, 1, slots, head_dim),
        VALUES: torch.randn(1, 1, head_dim, slots),
        PARAM_TENSOR: params(0, slots),
    }

    def attention(queries: Tensor, mask: Tensor, **given: Tensor) -> Tensors:
        kv = GpuKv(given[KEYS], given[VALUES], given[PARAM_TENSOR])
        view = SelectingView(Rotation(queries, queries), mask, None, slots)
        return {"mixed": attend(queries, kv, view) * 1.0}

    seconds = dict[int, float]()
    with compiled(lowered(attention, inputs)) as model:
        for used in (64, slots):
            mask = (torch.arange(slots) < used).expand(1, 1, tokens, slots)
            now = inputs | {"mask": mask.contiguous(), PARAM_TENSOR: params(used - tokens, used)}
            seconds[used] = least_seconds(model, now, calls=4)
    told = ", ".join(f"{used} in use {1000 * s:.0f} ms" for used, s in seconds.items())
    print(f"attention over {slots} slots: {told}")
    assert seconds[slots] > 3 * seconds[64]


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_the_cache_is_updated_in_place(kv_heads: int) -> None:
    """Of 4 entries the first few are real; at slot 61 the fourth would be past the end."""
    stored = caches(kv_heads)
    keys, values = (torch.randn(1, 4, kv_heads, HEAD_DIM) for _ in range(2))
    written = {f"{KEYS}_new": KEYS, f"{VALUES}_new": VALUES}

    def update(keys: Tensor, values: Tensor, slot: Tensor, **given: Tensor) -> Tensors:
        kv = GpuKv(given[KEYS], given[VALUES], given[PARAM_TENSOR])
        new = kv.written_padded(keys, values, slot[0], given[PARAM_TENSOR].reshape(-1)[1])
        return {f"{KEYS}_new": new.keys, f"{VALUES}_new": new.values}

    def inputs(slot: int, tokens: int) -> Tensors:
        place = torch.tensor([slot], dtype=torch.int32)
        told = {"slot": place, PARAM_TENSOR: params(slot, slot + tokens)}
        return {"keys": keys, "values": values, **stored, **told}

    with compiled(lowered(update, inputs(0, 1))) as model:
        assert fully_accelerated(model)
        for slot, tokens in ((0, 1), (5, 4), (40, 3), (61, 3)):
            found = run(model, inputs(slot, tokens), written)
            expected = Kv(stored[KEYS].clone(), stored[VALUES].clone())
            expected.keys[:, :, slot : slot + tokens] = keys[:, :tokens].permute(0, 2, 1, 3)
            expected.values[..., slot : slot + tokens] = values[:, :tokens].permute(0, 2, 3, 1)
            assert np.array_equal(found[f"{KEYS}_new"], expected.keys.numpy()), slot
            assert np.array_equal(found[f"{VALUES}_new"], expected.values.numpy()), slot


def test_masked_scores_are_replaced_even_if_they_are_not_numbers() -> None:
    mask = torch.arange(SLOTS).reshape(1, 1, 1, -1) < torch.tensor([3, 9]).reshape(1, 1, 2, 1)
    scores = torch.randn(1, 4, 2, SLOTS)
    scores[..., 30:] = torch.nan

    def masked(scores: Tensor, mask: Tensor) -> Tensors:
        view = SelectingView(Rotation(scores, scores), mask, None, SLOTS)
        return {"probabilities": torch.softmax(view.masked(scores), -1)}

    found = on_gpu(masked, {"scores": scores, "mask": mask})["probabilities"]
    assert_close(found, torch.softmax(torch.where(mask, scores, MASKED_SCORE), -1))


def test_rotations_are_those_of_the_cpu() -> None:
    rope, width, limit = Rope(theta=1e4, rotary_fraction=0.5), 64, 4096
    given = {"positions": torch.tensor([0, 7, 511, 512, 3999, 4000], dtype=torch.int32)}

    def rotation(positions: Tensor) -> Tensors:
        found = looked_up(positions, rope, width, limit)
        return {"cos": found.cos * 1.0, "sin": found.sin * 1.0}

    found, expected = on_gpu(rotation, given), Rotation.at(given["positions"], rope, width)
    assert_close(found["cos"], expected.cos, ROTATION_TOLERANCE)
    assert float((found["sin"] - expected.sin).abs().max()) <= ROTATION_TOLERANCE


def test_positions_are_whole_in_float16() -> None:
    """Where float16 has even numbers only, and at last none; computed angles are lost there."""
    rope, width, limit, slots = Rope(theta=1e4, rotary_fraction=1.0), 64, 131072, 4096
    newest = torch.tensor([5, 2049, 3001, 33333, 99999, 131071], dtype=torch.int32)
    inputs = {"newest": newest, "mask": torch.ones(1, 1, len(newest), slots, dtype=torch.bool)}

    def positioned(newest: Tensor, mask: Tensor) -> Tensors:
        kv, computed = GpuKv(mask, mask, mask), Rotation.at(newest, rope, width)
        seen = kv.view_latest(computed, mask, newest, 512).bias
        return {
            "found": looked_up(newest, rope, width, limit).cos * 1.0,
            "computed": computed.cos * 1.0,
            "seen": torch.where(seen, 1.0, 0.0),
        }

    found = on_gpu(positioned, inputs, options=FLOAT16)
    angles = newest.numpy().reshape(1, -1, 1, 1) * rope_frequencies(rope, width).astype(np.float64)
    expected = torch.from_numpy(np.cos(angles, dtype=np.float64)).float()
    assert_close(found["found"], expected, ROTATION_TOLERANCE)
    assert float((found["computed"] - expected)[:, 1:4].abs().max()) > 1.0
    numbers = torch.arange(slots)
    assert torch.equal(found["seen"][0, 0] > 0, numbers > newest.reshape(-1, 1) - 512)


def test_what_cpu_graphs_have_and_the_delegate_has_not() -> None:
    """The reason for graphs of another kind: slices, gathers and scatters at computed places."""
    start = torch.tensor([3], dtype=torch.int32)
    rows = torch.randn(8, 16)
    refused: dict[str, tuple[Function, Tensors]] = {
        "slice": (lambda x, i: {"y": stretch(x, i[0], 0, 4)}, {"x": rows, "i": start}),
        "gather": (lambda x, i: {"y": x.index_select(0, i)}, {"x": rows, "i": start}),
        "scatter": (
            lambda x, i: {"y": torch.zeros(8, 16).scatter(0, i.long().expand(1, 16), x)},
            {"x": rows, "i": start.reshape(1, 1)},
        ),
    }
    for function, inputs in refused.values():
        content = lowered(function, inputs)
        with (
            pytest.raises(EngineError, match="LiteRtCreateCompiledModel failed"),
            compiled(content),
        ):
            pass
