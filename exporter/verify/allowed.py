"""What the bundle's graphs may be off by, position by position: a number, or so many times their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.verify.compare import Floats, worst
from exporter.verify.rung import Figure
from exporter.verify.sides.graph_run import GraphRun
from exporter.verify.sides.noise import MOVED_RUNS, Noise
from exporter.verify.tolerances import GRAPH_FLOAT, MOST_NOISE, NOISES, SHAPES_FLOAT


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


@dataclass(frozen=True)
class GraphTolerance:
    """What LiteRT may differ by from torch and from ONNX Runtime, and its signatures from each other."""

    graphs: Allowed
    shapes: Allowed
    rounds: bool
    """Whether anything is rounded on the way."""


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


def float_tolerance(run: GraphRun) -> GraphTolerance:
    """Of a bundle in which nothing is rounded."""
    return GraphTolerance(
        _everywhere(GRAPH_FLOAT, run, GRAPH_REASON),
        _everywhere(SHAPES_FLOAT, run, SHAPES_REASON),
        rounds=False,
    )


def noise_tolerance(noise: Noise) -> GraphTolerance:
    """Of a bundle with quantised weights or int8 caches, as noisy as it was measured to be."""
    parts = {name: _by_noise(values) for name, values in vars(noise).items()}
    allowed = Allowed(**parts, reason=NOISE_REASON)
    return GraphTolerance(allowed, allowed, rounds=True)


def _by_noise(noise: Floats) -> Floats:
    """Never less than float32 would be allowed."""
    allowed: Floats = NOISES * np.clip(noise, GRAPH_FLOAT / NOISES, MOST_NOISE)
    return allowed


def _everywhere(limit: float, run: GraphRun, reason: str) -> Allowed:
    positions, drafts = (
        np.full(len(run.tokens), limit),
        (len(run.drafts), run.contract.draft_length),
    )
    return Allowed(
        caches=positions,
        hidden=positions,
        logits=np.full(len(run.probes), limit),
        draft_logits=np.full(drafts, limit),
        draft_projected=np.full(drafts, limit),
        reason=reason,
    )
