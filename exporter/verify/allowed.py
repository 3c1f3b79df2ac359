"""What the bundle's graphs may be off by, position by position: a number, or so many times their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.verify.compare import Floats, worst
from exporter.verify.rung import Figure
from exporter.verify.sides.graph_run import GraphRun
from exporter.verify.sides.noise import MOVED_RUNS, Noise
from exporter.verify.tolerances import GRAPH_FLOAT, MOST_NOISE, NOISES


@dataclass(frozen=True)
class Allowed:
    """Relative errors that a comparison allows, position by position, and why."""

    caches: Floats  # [T]
    hidden: Floats  # [T]
    logits: Floats  # [N], at the probes
    draft_logits: Floats  # [starts, G]
    draft_projected: Floats  # [starts, G]
    reason: str

    @property
    def most(self) -> float:
        """Of a logit, at any position."""
        return worst(self.logits)


def nearest_to_limit(name: str, errors: Floats, allowed: Floats) -> Figure:
    """The error that is nearest to what is allowed in its place, or the farthest beyond it."""
    at = np.unravel_index(np.argmax(errors / allowed), errors.shape)
    return Figure(name, float(errors[at]), float(allowed[at]))


GRAPH_REASON = (
    "float32 on both sides: only the order of sums differs, measured below 1e-5; any wrong term is "
    "above 1e-3"
)
SHAPES_REASON = "the same float32 graph with another number of tokens a call sums in another order"

NOISE_REASON = (
    f"kernels round activations to 8 bits (and int8 caches are rounded), so every position may be off by "
    f"{NOISES:g} times its own noise: how far the bundle's outputs there lie from its own in {MOVED_RUNS} "
    "runs whose inputs were moved by less than 8 bits tell apart"
)


def allowed_by_noise(noise: Noise) -> Allowed:
    """Of a bundle with quantised weights or int8 caches; never less than float32 would be allowed."""
    parts = {name: noise_allows(values) for name, values in vars(noise).items()}
    return Allowed(**parts, reason=NOISE_REASON)


def noise_allows(noise: Floats) -> Floats:
    """What an output may be off by in places with so much noise."""
    allowed: Floats = NOISES * np.clip(noise, GRAPH_FLOAT / NOISES, MOST_NOISE)
    return allowed


def allowed_everywhere(limit: float, run: GraphRun, reason: str) -> Allowed:
    """Of a bundle in which nothing is rounded: one number at every position."""
    positions = np.full(len(run.tokens), limit)
    drafts = np.full((len(run.drafts), run.contract.draft_length), limit)
    return Allowed(
        caches=positions,
        hidden=positions,
        logits=np.full(len(run.probes), limit),
        draft_logits=drafts,
        draft_projected=drafts,
        reason=reason,
    )
