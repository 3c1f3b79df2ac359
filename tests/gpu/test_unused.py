"""What the delegate offers for long contexts and our graphs do not use: tried, and why not (docs/gpu.md)."""

from __future__ import annotations

import pytest
import torch
from litert_torch.backend.composite import StableHLOCompositeBuilder
from torch import Tensor

from exporter.contract.names import PARAM_TENSOR
from exporter.errors import EngineError
from exporter.model.text.kv_gpu import GpuKv, SelectingView
from exporter.model.text.layers import MASKED_SCORE, Rotation, attend
from tests.gpu.operations import compiled, lowered
from tests.gpu.test_operations import (
    HEAD_DIM,
    KEYS,
    SLOTS,
    VALUES,
    Tensors,
    assert_close,
    caches,
    on_gpu,
    params,
)

WRITTEN = {f"{KEYS}_new": KEYS, f"{VALUES}_new": VALUES}

USED = 21


def fused(queries: Tensor, mask: Tensor, kv: GpuKv) -> Tensor:
    """Attention of one token, ``[1, 1, N, D]``, in one composite; one kv head."""
    heads = queries.shape[2]
    attention = StableHLOCompositeBuilder("odml.sdpa_transposed", {})
    marked = attention.mark_inputs(
        queries.transpose(1, 2).reshape(1, 1, heads, -1), kv.keys, kv.values, mask, kv.params
    )
    rows, keys, values, mask, params = marked
    scores = torch.where(mask, rows @ keys.transpose(2, 3), MASKED_SCORE + params.sum() * 0)
    mixed: Tensor = attention.mark_outputs(torch.softmax(scores, -1) @ values.transpose(2, 3))
    return mixed.reshape(1, 1, -1)


def token() -> Tensors:
    """One token at the end of :data:`USED` slots, and the caches before it."""
    torch.manual_seed(1)
    return {
        "queries": torch.randn(1, 1, 4, HEAD_DIM),
        "keys": torch.randn(1, 1, 1, HEAD_DIM),
        "values": torch.randn(1, 1, 1, HEAD_DIM),
        "mask": (torch.arange(SLOTS) < USED).reshape(1, 1, 1, -1),
        "slot": torch.tensor([USED - 1], dtype=torch.int32),
        **caches(1),
        PARAM_TENSOR: params(USED - 1, USED),
    }


def test_fused_attention_gives_what_our_products_give() -> None:
    """Where the graph writes the caches; and cost follows the slots in use in both (docs/gpu.md)."""

    def step(
        queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, slot: Tensor, **given: Tensor
    ) -> Tensors:
        old = GpuKv(given[KEYS], given[VALUES], given[PARAM_TENSOR])
        kv = old.written(keys, values, slot[0])
        assert isinstance(kv, GpuKv)
        view = SelectingView(Rotation(queries, queries), mask, None, SLOTS)
        return {
            f"{KEYS}_new": kv.keys,
            f"{VALUES}_new": kv.values,
            "fused": fused(queries, mask, kv) * 1.0,
            "ours": attend(queries, kv, view) * 1.0,
        }

    found = on_gpu(step, token(), WRITTEN)
    assert_close(found["fused"], found["ours"])


def test_fused_attention_is_refused_over_caches_that_the_graph_only_reads() -> None:
    """As a drafter's are: the delegate finds no "weights_buffer"."""
    inputs = {name: tensor for name, tensor in token().items() if name not in ("keys", "values")}

    def draft(queries: Tensor, mask: Tensor, slot: Tensor, **given: Tensor) -> Tensors:
        kv = GpuKv(given[KEYS], given[VALUES], given[PARAM_TENSOR])
        return {"mixed": fused(queries, mask, kv) + slot.float()}

    content = lowered(draft, inputs)
    with pytest.raises(EngineError, match="LiteRtCreateCompiledModel failed"), compiled(content):
        pass


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_ring_is_not_written_with_what_the_engine_tells(tokens: int) -> None:
    """It tells start, end and end; how many tokens go to a ring the delegate reads from the fourth place."""
    place = 3 * SLOTS + USED - 1
    told = [place, place + 1, place + 1, tokens, 0, 0, 0]
    inputs = token() | {PARAM_TENSOR: torch.tensor(told, dtype=torch.int32).reshape(1, 1, 1, 7)}

    def write(keys: Tensor, values: Tensor, slot: Tensor, **given: Tensor) -> Tensors:
        kinds = {"kv_cache_batch_size": 1, "cache_size": SLOTS, "head_size": HEAD_DIM}
        update = StableHLOCompositeBuilder("odml.cache_update", {**kinds, "is_ring_buffer": True})
        zero = torch.zeros((), dtype=torch.int32)
        operands = update.mark_inputs(
            keys,
            values,
            given[PARAM_TENSOR],
            given[KEYS],
            given[VALUES],
            torch.stack([zero, zero, slot[0], zero]),
            torch.stack([zero, zero, zero, slot[0]]),
        )
        nothing = sum(operand.sum() * 0 for operand in operands)
        new = update.mark_outputs(operands[3] + nothing, operands[4] + nothing)
        return dict(zip(WRITTEN, new, strict=True))

    names = ("keys", "values", "slot", KEYS, VALUES, PARAM_TENSOR)
    found = on_gpu(write, {name: inputs[name] for name in names}, WRITTEN)
    differs = found[f"{KEYS}_new"] != inputs[KEYS]
    assert differs.any(dim=-1).flatten().nonzero().flatten().tolist() == [USED - 1] * tokens
