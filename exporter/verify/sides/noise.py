"""How far a bundle's outputs lie from its own when its inputs move by less than its kernels resolve.

Kernels for quantised weights round the activations that go into a product to 8 bits, each row by its
own range, and int8 caches are rounded too. Torch rounds nothing, other kernels round differently, and
the same kernel rounds differently once an input differs in its last bits; so none of them can be met
exactly. What the roundings cost depends on the model and on the text, and one position may be off by ten
times what another is. It is therefore measured, at every position, and without a checkpoint: the bundle
reads the text a few times more with every embedding moved at random within one step of its own 8-bit
rounding. All roundings after that fall anew, so two runs are two random walks away from the same exact
outputs, and what is wrong with a graph is in both of them and does not show in their distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from exporter.verify.compare import Floats, position_errors
from exporter.verify.sides.graph_run import (
    Drafted,
    GraphRun,
    read_text,
    replayed,
    slots,
    write_caches,
)
from exporter.verify.sides.ring_caches import PlainCopy
from runtime_py.litert.executor import LitertExecutor
from runtime_py.loop.executor import Lookups

MOVED_RUNS = 3
"""Two runs can end close together by chance, three hardly: the farthest counts."""

STEPS = 255
"""Between the least and the largest value of a row that is rounded to 8 bits; 0 is among them."""


@dataclass(frozen=True)
class Noise:
    """Relative distances between the bundle and itself, moved: the largest of :data:`MOVED_RUNS`."""

    caches: Floats  # [T]
    hidden: Floats  # [T]
    logits: Floats  # [N], at the probes
    draft_logits: Floats  # [starts, G]
    draft_projected: Floats  # [starts, G]


def measure_noise(executor: LitertExecutor, run: GraphRun) -> Noise:
    """Repeat a run with moved inputs.

    Args:
        executor: The bundle.
        run: What it computed when nothing was moved.
    """
    found = [_moved_run(executor, run, seed) for seed in range(MOVED_RUNS)]
    return Noise(
        *(np.max([getattr(noise, name) for noise in found], axis=0) for name in vars(found[0]))
    )


def draft_errors(ours: Drafted, theirs: Drafted) -> tuple[Floats, Floats]:
    """Relative errors ``[G]`` of a chain's logits and of its projected hidden states.

    Logits are compared where both sides score a token; one that is not scored has the least logit.
    """
    both = [
        (side.logits > side.logits.min(axis=1, keepdims=True)) for side in (ours, theirs)
    ]  # [G, V]
    scored = both[0] & both[1]
    logits = position_errors(*(np.where(scored, side.logits, 0) for side in (ours, theirs)))
    return logits, position_errors(ours.projected, theirs.projected)


class MovedLookups:
    """A bundle's embeddings, each moved within one step of its own rounding to 8 bits."""

    def __init__(self, own: Lookups, source: np.random.Generator) -> None:
        self.own, self.source = own, source

    def embed(self, token: int) -> Floats:
        moved: Floats = moved_within_a_step(self.own.embed(token)[None], self.source)[0]
        return moved

    def embed_per_layer(self, token: int) -> Floats:
        return moved_within_a_step(self.own.embed_per_layer(token), self.source)


def moved_within_a_step(rows: Floats, source: np.random.Generator, steps: float = 1.0) -> Floats:
    """``rows`` ``[R, C]``, every element up to half a step of its row's rounding higher or lower.

    ``steps`` makes that so many times as much.
    """
    step = (np.maximum(rows.max(axis=1), 0) - np.minimum(rows.min(axis=1), 0)) / STEPS
    moved: Floats = rows + steps * step[:, None] * (source.random(rows.shape) - 0.5)
    return moved.astype(np.float32)


def _moved_run(executor: LitertExecutor, run: GraphRun, seed: int) -> Noise:
    source = np.random.default_rng(seed)
    lookups, cache, count = MovedLookups(executor, source), executor.new_cache(), len(run.tokens)
    copy = PlainCopy(executor, cache)
    logits, hidden = read_text(executor, cache, run.tokens, run.probes, lookups, copy.after)
    caches = slots(run.contract, copy.caches(), count)
    drafts = _moved_drafts(executor, run, lookups)
    return Noise(
        position_errors(caches, slots(run.contract, run.caches, count)),
        position_errors(hidden, run.hidden),
        position_errors(logits, run.logits),
        np.stack([logits for logits, _ in drafts]) if drafts else np.empty((0, 0)),
        np.stack([projected for _, projected in drafts]) if drafts else np.empty((0, 0)),
    )


def _moved_drafts(
    executor: LitertExecutor, run: GraphRun, lookups: MovedLookups
) -> Sequence[tuple[Floats, Floats]]:
    """The chains of a run from embeddings and hidden states that were moved, over its own caches."""
    cache = executor.new_cache()
    draft, found = partial(executor.draft, lookups=lookups), []
    for drafted in run.drafts:
        write_caches(run.contract, cache, run.caches, drafted.committed)
        state = moved_within_a_step(run.hidden[drafted.committed - 1][None], lookups.source)[0]
        found.append(draft_errors(replayed(draft, cache, drafted, state), drafted))
    return found
