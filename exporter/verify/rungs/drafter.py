"""Rung: the drafter is transformers' assistant, at module level, over transformers' own KV.

G chained steps with explicit KV, hidden state and position, so that only the drafter is compared. Runs
of ``generate()`` are no reference here: after a rejection it lets the drafter see one KV entry of a
rejected token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.inspection import FULL_BITS
from exporter.contract.names import Section
from exporter.verify.allowed import Allowed
from exporter.verify.compare import (
    Disagreements,
    Floats,
    bridged,
    compare_tokens,
    position_errors,
    worst,
)
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, Rung, Title
from exporter.verify.sides.golden import Golden
from exporter.verify.sides.graph_run import Drafted, floor_logit, replayed, write_caches
from exporter.verify.sides.stored_weights import UnreadableWeightError
from exporter.verify.tolerances import GRAPH_FLOAT, REFERENCE
from runtime_py.litert.executor import LitertExecutor

if TYPE_CHECKING:
    from exporter.verify.sides.torch_pair import TorchPair

TITLE = Title(
    "drafter",
    "The drafter is transformers' assistant",
    "If only LiteRT's drafts differ, keep the drafter in int8 or float32 by another recipe; if torch's "
    "worst step is outside, look at transformers' version (the extra reference installs a tested one).",
    needs_target=True,
    asks_transformers=True,
)


@dataclass(frozen=True)
class Chains:
    """The drafts from one start, as each side makes them; all are fed the assistant's tokens."""

    assistant: Drafted
    torch: Drafted
    """With the checkpoint's weights."""
    stored: Drafted
    """Torch's with the bundle's weights and caches."""
    litert: Drafted


def judge(evidence: Evidence) -> Rung:
    """Compare torch and LiteRT with the golden chains.

    LiteRT must draft the assistant's tokens if it has the checkpoint's weights, and otherwise those that
    torch drafts with the weights and caches of the bundle.
    """
    executor, allowed = evidence.model.executor, evidence.allowed
    if not executor.draft_length:
        return TITLE.skipped("the bundle has no drafter")
    if evidence.request.drafter is None:
        return TITLE.skipped("no --drafter given; with --drafter CHECKPOINT it runs")
    if (golden := evidence.golden) is None:
        return TITLE.skipped(evidence.no_golden)
    try:
        stored = evidence.stored_pair
    except UnreadableWeightError as error:
        return TITLE.skipped(f"the bundle's weights cannot be read back: {error}")
    chains = _chains(evidence.float_pair, executor, golden, stored)
    bits = evidence.fewest_bits(Section.MTP_DRAFTER)
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
    caches, coded = (side.donor_caches(golden.arrays) for side in (pair, stored))
    cache, found = executor.new_cache(), []
    for start in golden.starts:
        write_caches(executor.contract, cache, stored.arrays(coded), start)
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


def _other_drafts(chains: Chains, exact: bool, allowed: Allowed) -> Disagreements:
    """LiteRT's drafts that are not those expected of it: the assistant's, or torch's in as few bits."""
    ours, expected = chains.litert, chains.assistant if exact else chains.stored
    places = [
        f"draft {step} after {ours.committed} tokens" for step in range(1, len(ours.logits) + 1)
    ]
    floor = floor_logit()
    scored = [_scored(theirs) & (mine > floor) for mine, theirs in _rows(ours, expected)]
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
    lowest, floor = logits.min(), floor_logit()
    centroid_head = (logits == lowest).sum() > 1
    scored: NDArray[np.bool_] = logits > (max(lowest, floor) if centroid_head else floor)
    return scored


def _errors(ours: Drafted, reference: Drafted) -> Iterator[float]:
    yield worst(position_errors(ours.projected, reference.projected))
    for mine, theirs in _rows(ours, reference):
        scored = _scored(theirs)
        missing = mine[scored] <= floor_logit()
        yield worst(position_errors(np.where(missing, 0, mine[scored])[None], theirs[scored][None]))
