"""Rung: the drafter is transformers' assistant, at module level, over transformers' own KV.

G chained steps with explicit KV, hidden state and position, so that only the drafter is compared. Runs
of ``generate()`` are no reference here: after a rejection it lets the drafter see one KV entry of a
rejected token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.bundle.inspection import FULL_BITS
from exporter.checkpoints.architecture import AttentionKind
from exporter.model.text.drafter import FLOOR_LOGIT
from exporter.model.text.target import Caches
from exporter.verify.allowed import Allowed
from exporter.verify.compare import Choices, Floats, bridged, compare_tokens, position_errors, worst
from exporter.verify.rung import Figure, Rung
from exporter.verify.sides.golden import Golden
from exporter.verify.sides.graph_run import Drafted, replayed, write_caches
from exporter.verify.sides.torch_pair import TorchPair, to_arrays
from exporter.verify.titles import DRAFTER as TITLE
from exporter.verify.tolerances import GRAPH_FLOAT, REFERENCE
from runtime_py.litert.executor import LitertExecutor


@dataclass(frozen=True)
class Chains:
    """The drafts from one start, as each side makes them; all are fed the assistant's tokens."""

    assistant: Drafted
    torch: Drafted
    """With the checkpoint's weights."""
    stored: Drafted
    """Torch's with the bundle's weights and caches."""
    litert: Drafted


def drafter_rung(
    pair: TorchPair,
    executor: LitertExecutor,
    golden: Golden,
    bits: int,
    stored: TorchPair,
    allowed: Allowed,
) -> Rung:
    """Torch and LiteRT against the golden chains.

    Args:
        pair: Our model with the checkpoint's weights.
        executor: LiteRT's side.
        golden: Transformers' side.
        bits: The fewest of any matrix of the drafter and of the caches.
        stored: Our model with the bundle's weights, which also makes caches as the bundle's are.
        allowed: How far LiteRT may be from torch with the bundle's weights.
    """
    chains = _chains(pair, executor, golden, stored)
    exact = bits == FULL_BITS
    choices = [_other_drafts(found, exact, allowed) for found in chains]
    differing = [text for found in choices for text in found.differing]
    ties = [tie for found in choices for tie in found.near_ties]
    steps = [_rows(c.litert, c.assistant) for c in chains]
    same = [int(ours.argmax()) == int(theirs.argmax()) for found in steps for ours, theirs in found]
    figures = (
        Figure("torch: worst step", _worst((c.torch, c.assistant) for c in chains), REFERENCE),
        Figure(
            "LiteRT: worst step",
            _worst((c.litert, c.assistant) for c in chains),
            GRAPH_FLOAT if exact else None,
        ),
        Figure("LiteRT: other drafts", len(differing), 0),
        Figure("LiteRT: same draft as the assistant, share", sum(same) / len(same)),
        Figure("drafts compared", len(same)),
    )
    reason = "torch has the checkpoint's weights: only the order of sums differs. " + (
        "LiteRT has them too, and drafts the assistant's tokens"
        if exact
        else f"LiteRT has them in {bits} bits or more, and drafts the tokens that torch drafts with "
        "these; how many of them are the assistant's is a matter of quality"
    )
    return TITLE.judged(figures, reason, problems=differing, near_ties=ties)


def _chains(
    pair: TorchPair, executor: LitertExecutor, golden: Golden, stored: TorchPair
) -> list[Chains]:
    """Of every start."""
    caches, coded = golden_caches(pair, golden), golden_caches(stored, golden)
    cache, found = executor.new_cache(), []
    write_caches(cache, to_arrays(coded))
    for start in golden.starts:
        reference, state = _reference(golden, start), golden.arrays["hidden"][start - 1]
        found.append(
            Chains(
                reference,
                replayed(pair.draft, caches, reference, state),
                replayed(stored.draft, coded, reference, state),
                replayed(executor.draft, cache, reference, state),
            )
        )
    return found


def _other_drafts(chains: Chains, exact: bool, allowed: Allowed) -> Choices:
    """LiteRT's drafts that are not those expected of it: the assistant's, or torch's in as few bits."""
    ours, expected = chains.litert, chains.assistant if exact else chains.stored
    places = [
        f"draft {step} after {ours.committed} tokens" for step in range(1, len(ours.logits) + 1)
    ]
    scored = [_scored(theirs) & (mine > FLOOR_LOGIT) for mine, theirs in _rows(ours, expected)]
    noise = max(
        bridged(mine[both], theirs[both], worst(allowed.draft_logits))
        for both, (mine, theirs) in zip(scored, _rows(ours, expected), strict=True)
    )
    return compare_tokens(ours.logits.argmax(axis=1).tolist(), expected.logits, places, noise)


def _rows(ours: Drafted, theirs: Drafted) -> Iterator[tuple[Floats, Floats]]:
    """Logits of both, step by step, of the tokens both know: a fine-tune's target may have more."""
    known = theirs.logits.shape[1]
    return zip(ours.logits[:, :known], theirs.logits, strict=True)


def _worst(pairs: Iterable[tuple[Drafted, Drafted]]) -> float:
    return max(error for ours, reference in pairs for error in _errors(ours, reference))


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
    drafts = map(int, arrays[f"draft.{start}.tokens"][:-1])
    return Drafted(
        start,
        (golden.tokens[start], *drafts),
        arrays[f"draft.{start}.logits"],
        arrays[f"draft.{start}.projected"],
    )


def _scored(logits: Floats) -> NDArray[np.bool_]:
    """Which tokens a head scores: ours floors the others, transformers puts them below the least."""
    lowest = logits.min()
    centroid_head = (logits == lowest).sum() > 1
    scored: NDArray[np.bool_] = logits > (
        max(lowest, FLOOR_LOGIT) if centroid_head else FLOOR_LOGIT
    )
    return scored


def _errors(ours: Drafted, reference: Drafted) -> Iterator[float]:
    yield worst(position_errors(ours.projected, reference.projected))
    for mine, theirs in _rows(ours, reference):
        scored = _scored(theirs)
        missing = mine[scored] <= FLOOR_LOGIT
        yield worst(position_errors(np.where(missing, 0, mine[scored])[None], theirs[scored][None]))
