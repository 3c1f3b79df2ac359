"""Our torch modules against unmodified transformers, through the golden file.

The reference ran in another process (``reference_run.py``). This is the first rung of the ladder:
everything later is compared with these modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.checkpoints.architecture import AttentionKind, HeadKind
from exporter.model.text.drafter import FLOOR_LOGIT
from exporter.model.text.kv import PIECE, Kv
from exporter.model.text.target import Caches
from tests.eager import Eager
from tests.reference_run import DRAFT_STARTS, DRAFTS, REACH_START, TARGET_LENGTHS

Golden = Mapping[str, NDArray[Any]]

REFERENCE_TOLERANCE = 1e-4
"""Of the largest magnitude. Both sides are float32 and differ in the order of sums only: measured
errors are up to 4e-6, any wrong term is above 1e-3."""

SELF_TOLERANCE = 1e-5
"""Our own model with another number of tokens a call: a matrix product may sum in another order."""

LONGEST = TARGET_LENGTHS[-1]
STALE = 37.0
"""Left in slots that no mask shows; any leak of it would dwarf the tolerance."""


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """No gradients; one thread, because the models are too small to share out."""
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


def assert_close(ours: Tensor, reference: NDArray[Any] | Tensor, tolerance: float) -> None:
    """Compare within ``tolerance`` of the reference's largest magnitude."""
    reference = torch.as_tensor(reference)
    assert ours.shape == reference.shape
    error = (ours - reference).abs().max() / reference.abs().max()
    assert error <= tolerance, f"relative error {error:.2e}, tolerance {tolerance:.0e}"


def tokens_of(golden: Golden) -> Tensor:
    return torch.from_numpy(golden["tokens"])


def committed_caches(eager: Eager, golden: Golden, count: int, stale: float = 0.0) -> Caches:
    return eager.prefill(tokens_of(golden)[:count], 0, eager.empty_caches(stale))


def draft_start(eager: Eager, golden: Golden, committed: int) -> tuple[Tensor, Tensor, Caches]:
    """The pending token, the hidden state before it, and caches with ``committed`` slots in use."""
    step = eager.forward(tokens_of(golden)[:committed], 0, eager.empty_caches(STALE))
    return tokens_of(golden)[committed], step.hidden[0, -1], step.caches


@pytest.mark.parametrize("length", TARGET_LENGTHS)
def test_target_is_transformers(eager: Eager, golden: Golden, length: int) -> None:
    """Below, at and beyond the window; ``activations`` are hidden states after the final norm."""
    step = eager.forward(tokens_of(golden)[:length], 0, eager.empty_caches())
    assert_close(step.logits[0], golden[f"target.{length}.logits"], REFERENCE_TOLERANCE)
    assert_close(step.hidden[0], golden[f"target.{length}.hidden"], REFERENCE_TOLERANCE)


def test_softcap_bends_the_logits(eager: Eager, golden: Golden) -> None:
    """The pair would not notice a missing softcap if its logits stayed near zero."""
    step = eager.forward(tokens_of(golden)[:LONGEST], 0, eager.empty_caches())
    uncapped = step.hidden @ eager.target.lm_head.weight.T
    assert (uncapped - step.logits).abs().max() > 100 * REFERENCE_TOLERANCE * uncapped.abs().max()


def test_donor_caches_are_transformers(eager: Eager, golden: Golden) -> None:
    """What the drafter reads: rotated keys as they are, values transposed."""
    donors = eager.donors(committed_caches(eager, golden, LONGEST))
    for kind, kv in donors.items():
        keys, values = golden[f"kv.{kind.value}.keys"], golden[f"kv.{kind.value}.values"]
        assert_close(kv.keys[0, :, :LONGEST], keys[:, :LONGEST], REFERENCE_TOLERANCE)
        ours = kv.values[0, :, :, :LONGEST].transpose(1, 2)
        assert_close(ours, values[:, :LONGEST], REFERENCE_TOLERANCE)


@pytest.mark.parametrize("split", [1, 39, 63, 64, 65, 120])
def test_decode_after_prefill(eager: Eager, golden: Golden, split: int) -> None:
    """Prefill to ``split`` in two calls, then token by token: still transformers' single pass."""
    tokens, half = tokens_of(golden)[:LONGEST], split // 2
    caches = eager.empty_caches(STALE)
    if half:
        caches = eager.prefill(tokens[:half], 0, caches)
    caches = eager.prefill(tokens[half:split], half, caches)
    logits, hidden = [], []
    for position in range(split, LONGEST):
        step = eager.forward(tokens[position : position + 1], position, caches)
        caches = step.caches
        logits.append(step.logits[0])
        hidden.append(step.hidden[0])
    expected_logits = golden[f"target.{LONGEST}.logits"][split:]
    assert_close(torch.cat(logits), expected_logits, REFERENCE_TOLERANCE)
    assert_close(torch.cat(hidden), golden[f"target.{LONGEST}.hidden"][split:], REFERENCE_TOLERANCE)


@pytest.mark.parametrize("start", [0, 40])
def test_prefill_fills_what_forward_fills(eager: Eager, golden: Golden, start: int) -> None:
    """Skipping the layers above the last owner must not change a cache, bit for bit.

    Of as many tokens as attend at once: products of fewer slots add up in another order.
    """
    tokens = tokens_of(golden)[start : min(start + PIECE, LONGEST)]
    before = committed_caches(eager, golden, start) if start else eager.empty_caches()
    filled = eager.prefill(tokens, start, before)
    forward = eager.forward(tokens, start, before).caches
    assert filled.keys() == forward.keys() == before.keys()
    for layer, kv in filled.items():
        assert torch.equal(kv.keys, forward[layer].keys)
        assert torch.equal(kv.values, forward[layer].values)


def test_prefill_unused_names_what_prefill_never_reads(eager: Eager, golden: Golden) -> None:
    """Parameters said to be unused may be anything; each of the others must matter."""
    tokens, empty = tokens_of(golden)[:20], eager.empty_caches()
    expected = eager.prefill(tokens, 0, empty)

    def changes(names: list[str]) -> bool:
        kept = {name: p.clone() for name, p in eager.target.named_parameters() if name in names}
        for name in names:
            eager.target.get_parameter(name).mul_(1.5).add_(0.25)
        caches = eager.prefill(tokens, 0, empty)
        eager.target.load_state_dict(kept, strict=False)
        return any(
            not torch.equal(kv.keys, expected[layer].keys)
            or not torch.equal(kv.values, expected[layer].values)
            for layer, kv in caches.items()
        )

    names = [name for name, _ in eager.target.named_parameters()]
    unused = [name for name in names if eager.target.prefill_unused(name)]
    assert "lm_head.weight" in unused
    assert not changes(unused)
    assert [name for name in names if name not in unused and not changes([name])] == []


@pytest.mark.parametrize("start", [1, 40, 61, 64, 146])
def test_verify_is_token_by_token(eager: Eager, golden: Golden, start: int) -> None:
    """G + 1 tokens at once, over what rejected drafts left in the slots, also across the window."""
    tokens = tokens_of(golden)[start : start + DRAFTS]
    caches = committed_caches(eager, golden, start, STALE)
    verified = eager.forward(tokens, start, caches)
    for offset in range(DRAFTS):
        step = eager.forward(tokens[offset : offset + 1], start + offset, caches)
        caches = step.caches
        assert_close(verified.logits[:, offset], step.logits[:, 0], SELF_TOLERANCE)
        assert_close(verified.hidden[:, offset], step.hidden[:, 0], SELF_TOLERANCE)
    for layer, kv in caches.items():
        assert_close(verified.caches[layer].keys, kv.keys, SELF_TOLERANCE)
        assert_close(verified.caches[layer].values, kv.values, SELF_TOLERANCE)


def test_a_token_that_sees_nothing_stays_finite(eager: Eager, golden: Golden) -> None:
    """The engine pads a prefill with rows whose mask is all false: no NaN may reach the caches."""
    embeddings, per_layer, positions, mask = eager.inputs(tokens_of(golden)[:8], 0)
    mask[:, :, 5:] = False
    caches = eager.empty_caches()
    padded = eager.target.prefill(embeddings, per_layer, positions, mask, caches)
    expected = eager.prefill(tokens_of(golden)[:5], 0, caches)
    for layer, kv in padded.items():
        assert kv.keys.isfinite().all()
        assert kv.values.isfinite().all()
        assert_close(kv.keys[:, :, :5], expected[layer].keys[:, :, :5], SELF_TOLERANCE)


@pytest.mark.parametrize("start", [100, 246, 252])
def test_padding_past_the_end_spares_committed_entries(
    eager: Eager, golden: Golden, start: int
) -> None:
    """An update slice moves back where it does not fit, as 10 tokens at slot 252 of 256, 4 real.

    Nothing before ``start`` may change, and the real tokens' entries must be the usual ones.
    """
    tokens = tokens_of(golden).repeat(2)
    before = eager.prefill(tokens[:start], 0, eager.empty_caches())
    expected = eager.prefill(tokens[start : start + 4], start, before)
    embeddings, per_layer, positions, mask = eager.inputs(tokens[start : start + 10], start)
    mask[:, :, 4:] = False
    padded = eager.target.prefill(embeddings, per_layer, positions, mask, before)
    end = start + 4
    for layer, kv in padded.items():
        assert torch.equal(kv.keys[:, :, :start], before[layer].keys[:, :, :start])
        assert torch.equal(kv.values[..., :start], before[layer].values[..., :start])
        assert_close(kv.keys[:, :, :end], expected[layer].keys[:, :, :end], SELF_TOLERANCE)
        assert_close(kv.values[..., :end], expected[layer].values[..., :end], SELF_TOLERANCE)


@pytest.mark.parametrize("committed", DRAFT_STARTS)
def test_drafter_is_transformers(eager: Eager, golden: Golden, committed: int) -> None:
    """Chained steps at one position over one KV; our graph takes P - 1 and turns queries by P.

    Only candidates have logits, at the same tokens; transformers puts all others 1 below the least
    candidate, we put them at FLOOR_LOGIT.
    """
    token, state, caches = draft_start(eager, golden, committed)
    for step in range(DRAFTS):
        draft = eager.draft(HeadKind.CENTROID, token, state, committed, caches)
        reference = golden[f"draft.{committed}.logits"][step]
        candidates = torch.from_numpy(reference > reference.min())
        logits = draft.logits[0, 0]
        assert torch.equal(logits != FLOOR_LOGIT, candidates)
        assert_close(logits[candidates], reference[candidates], REFERENCE_TOLERANCE)
        state = draft.projected[0, 0]
        projected = golden[f"draft.{committed}.projected"][step]
        assert_close(state, projected, REFERENCE_TOLERANCE)
        token = logits.argmax()
        assert token == golden[f"draft.{committed}.tokens"][step]


def test_centroid_head_leaves_most_tokens_out(eager: Eager, golden: Golden) -> None:
    """8 of 64 clusters of 32 tokens, or the candidate test above would prove little."""
    token, state, caches = draft_start(eager, golden, 64)
    draft = eager.draft(HeadKind.CENTROID, token, state, 64, caches)
    assert int((draft.logits != FLOOR_LOGIT).sum()) == 8 * 32


@pytest.mark.parametrize("committed", DRAFT_STARTS)
def test_full_head_scores_every_token(eager: Eager, golden: Golden, committed: int) -> None:
    """The same hidden state against every row of the embedding."""
    token, state, caches = draft_start(eager, golden, committed)
    draft = eager.draft(HeadKind.FULL, token, state, committed, caches)
    assert_close(draft.logits[0, 0], golden[f"draft.{committed}.full"], REFERENCE_TOLERANCE)
    projected = golden[f"draft.{committed}.projected"][0]
    assert_close(draft.projected[0, 0], projected, REFERENCE_TOLERANCE)


def test_reference_drafter_sees_window_plus_one(golden: Golden) -> None:
    """Transformers' own mask: entry P - 65 of window 64 counts, entry P - 66 does not at all."""
    base = golden["reach.base"]
    assert np.abs(golden["reach.oldest_seen"] - base).max() > 0.1
    assert np.array_equal(golden["reach.newest_unseen"], base)
    assert_close(torch.from_numpy(golden["reach.cropped"]), base, SELF_TOLERANCE)


def test_drafter_sees_window_plus_one(eager: Eager, golden: Golden) -> None:
    """Ours sees the same entries: change one in the cache at either side of the edge."""
    token, state, caches = draft_start(eager, golden, REACH_START)
    window = eager.target.config.text.sliding_window

    def projected(entry: int | None) -> Tensor:
        changed = dict(caches)
        if entry is not None:
            layer = eager.target.config.kv_donor(AttentionKind.SLIDING).index
            values = caches[layer].values.clone()
            values[:, :, :, entry] += 10.0
            changed[layer] = Kv(caches[layer].keys, values)
        return eager.draft(HeadKind.CENTROID, token, state, REACH_START, changed).projected[0, 0]

    unchanged = projected(None)
    assert_close(unchanged, golden["reach.base"], REFERENCE_TOLERANCE)
    oldest_seen = projected(REACH_START - (window + 1))
    assert_close(oldest_seen, golden["reach.oldest_seen"], REFERENCE_TOLERANCE)
    assert torch.equal(projected(REACH_START - (window + 2)), unchanged)


def test_reference_generate_holds_the_position(golden: Golden) -> None:
    """generate(assistant_model=...) drafts at constant P: the pending token's position.

    The first round hands over exactly the P committed entries. Later rounds after a rejection hand
    over P + 1: its crop keeps the rejected draft's entry in slot P, below the window too. The
    engine masks that slot, so acceptance may differ from transformers' while the module does not.
    """
    position, visible = golden["generate.position"], golden["generate.visible"]
    assert np.array_equal(position[:DRAFTS], [TARGET_LENGTHS[0]] * DRAFTS)
    assert np.array_equal(visible[:DRAFTS], position[:DRAFTS])
    rounds, calls = np.unique(position, return_counts=True)
    assert np.array_equal(calls[:5], [DRAFTS] * 5)
    assert len(rounds) > 5
    assert np.array_equal(visible[DRAFTS:], position[DRAFTS:] + 1)


def test_reference_position_matters(golden: Golden) -> None:
    """P - 1, which the engine passes, would be visibly wrong without the graph's + 1."""
    assert np.abs(golden["reach.position_before"] - golden["reach.base"]).max() > 0.1
