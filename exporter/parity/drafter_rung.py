"""Rung: the drafter is transformers' assistant, at module level, over transformers' own KV.

G chained steps with explicit KV, hidden state and position, so that only the drafter is compared. Runs
of ``generate()`` are no reference here: after a rejection it lets the drafter see one KV entry of a
rejected token.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.checkpoints.architecture import AttentionKind
from exporter.model.drafter import FLOOR_LOGIT
from exporter.model.target import Caches
from exporter.parity.compare import Floats, bridged, margin, position_errors, worst
from exporter.parity.golden import Golden
from exporter.parity.graph_run import Drafted, draft_chain, write_caches
from exporter.parity.rung import Bound, Figure, NearTie, Rung
from exporter.parity.titles import DRAFTER as TITLE
from exporter.parity.tolerances import REFERENCE, GraphTolerance
from exporter.parity.torch_pair import TorchPair, to_arrays
from runtime_py.litert_executor import LitertExecutor

FULL_BITS = 32

LEAST_SAME_DRAFTS = {FULL_BITS: 1.0, 8: 0.6, 4: 0.4, 2: 0.0}
"""Share of drafts that must be the assistant's, by the fewest bits of the drafter's matrices and of the
caches. Drafters are unsure by nature; float32 must draft the same token every time, but for near-ties;
with fewer bits a different draft is a loss and not noise."""


def drafter_rung(
    pair: TorchPair,
    executor: LitertExecutor,
    golden: Golden,
    tolerance: GraphTolerance,
    bits: int,
    coding: TorchPair,
) -> Rung:
    """Torch and LiteRT against the golden chains; ``coding`` makes caches as the bundle's are."""
    caches = golden_caches(pair, golden)
    torch_errors, errors, same, ties = [0.0], [0.0], [], []
    cache = executor.new_cache()
    write_caches(cache, to_arrays(golden_caches(coding, golden)))
    for start in golden.starts:
        reference = _reference(golden, start)
        ours = _torch_chain(pair, golden, start, reference, caches)
        torch_errors += _errors(ours, reference)
        token, state = golden.tokens[start], golden.arrays["hidden"][start - 1]
        forced = reference.tokens
        litert = draft_chain(executor, cache, token, state, start, forced)
        errors += _errors(litert, reference)
        for step, (mine, theirs) in enumerate(zip(litert.logits, reference.logits, strict=True)):
            same.append(int(mine.argmax()) == int(theirs.argmax()))
            noise = _noise(mine[: theirs.size], theirs, tolerance) if bits == FULL_BITS else 0.0
            if not same[-1] and margin(theirs) <= noise:
                ties.append(_tie(start, step, mine, theirs, noise))
    limit = tolerance.error if bits == FULL_BITS else None
    figures = (
        Figure("torch: worst step", max(torch_errors), REFERENCE),
        Figure("LiteRT: worst step", max(errors), limit),
        Figure(
            "LiteRT: same draft, near-ties apart",
            (sum(same) + len(ties)) / len(same),
            LEAST_SAME_DRAFTS[bits],
            Bound.AT_LEAST,
        ),
        Figure("drafts compared", len(same)),
    )
    reason = "torch has the checkpoint's weights: only the order of sums differs. " + (
        "LiteRT has them too" if bits == FULL_BITS else f"LiteRT has them in {bits} bits or more"
    )
    return TITLE.judged(figures, reason, near_ties=ties)


def golden_caches(pair: TorchPair, golden: Golden) -> Caches:
    """Transformers' KV of the donors, in our layout."""
    caches = pair.empty_caches()
    donors = {}
    for kind in AttentionKind:
        layer = pair.config.kv_donor(kind).index
        keys, values = (
            torch.from_numpy(golden.arrays[f"kv.{kind.value}.{part}"]).transpose(0, 1).unsqueeze(0)
            for part in ("keys", "values")
        )  # [1, T, K, D]
        donors[layer] = caches[layer].written(keys, values, torch.tensor(0, dtype=torch.int32))
    return donors


def _reference(golden: Golden, start: int) -> Drafted:
    arrays = golden.arrays
    return Drafted(
        start,
        tuple(int(token) for token in arrays[f"draft.{start}.tokens"]),
        arrays[f"draft.{start}.logits"],
        arrays[f"draft.{start}.projected"],
    )


def _torch_chain(
    pair: TorchPair, golden: Golden, start: int, reference: Drafted, caches: Caches
) -> Drafted:
    token = golden.tokens[start]
    state = torch.from_numpy(golden.arrays["hidden"][start - 1])
    logits, projected = [], []
    for following in reference.tokens:
        step = pair.draft(token, state, start, caches)
        token, state = following, step.projected
        logits.append(step.logits.numpy())
        projected.append(state.numpy())
    return Drafted(start, reference.tokens, np.stack(logits), np.stack(projected))


def _scored(logits: Floats) -> NDArray[np.bool_]:
    """Which tokens a head scores: ours floors the others, transformers puts them below the least."""
    lowest = logits.min()
    centroid_head = (logits == lowest).sum() > 1
    scored: NDArray[np.bool_] = logits > (
        max(lowest, FLOOR_LOGIT) if centroid_head else FLOOR_LOGIT
    )
    return scored


def _noise(ours: Floats, theirs: Floats, tolerance: GraphTolerance) -> float:
    """Of the tokens that both sides score."""
    both = _scored(theirs) & (ours > FLOOR_LOGIT)
    return bridged(ours[both], theirs[both], tolerance.error)


def _errors(ours: Drafted, reference: Drafted) -> Iterator[float]:
    yield worst(position_errors(ours.projected, reference.projected))
    for mine, theirs in zip(ours.logits, reference.logits, strict=True):
        scored = _scored(theirs)
        found = mine[: theirs.size][scored]  # of a grown target's tokens the assistant knows fewer
        known = np.where(found <= FLOOR_LOGIT, 0, found)
        yield worst(position_errors(known[None], theirs[scored][None]))


def _tie(start: int, step: int, ours: Floats, theirs: Floats, noise: float) -> NearTie:
    where = f"draft {step + 1} after {start} tokens"
    return NearTie(where, str(ours.argmax()), str(theirs.argmax()), margin(theirs), noise)
