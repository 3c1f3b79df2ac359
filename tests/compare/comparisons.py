"""Comparisons that never took place, for their verdicts and reports: figures of docs/quantisation.md."""

from __future__ import annotations

import math

from exporter.compare.comparison import Comparison
from exporter.compare.figures import (
    DraftFigures,
    Estimate,
    Quality,
    Speed,
    TensorFigures,
    TextFigures,
)
from exporter.compare.passages import PassagePlan
from runtime_py.loop.rounds import Acceptance

DRAFTS = 1000
"""In each of :data:`PASSAGES`."""

PASSAGES = 4
HEADS = TensorFigures("target.layers.0.per_layer_input_gate.weight", "int4", 4096, 2176, 19.4)


def quality(
    name: str, megabytes: float, mnat: float, hits: int = 442, error: float = 0.2
) -> Quality:
    """A bundle with this divergence, and so many of a passage's thousand paired drafts accepted."""
    text = TextFigures(
        51 * math.exp(mnat / 1e3), 51.0, Estimate(mnat / 1e3, error / 1e3), 2.0, 0.9, 3200
    )
    drafts = DraftFigures.of([Acceptance((DRAFTS,), (hits,))] * PASSAGES)
    nbytes = round(megabytes * 1e6)
    return Quality(name, nbytes, {}, text, drafts, drafts, Speed(30, 20), (HEADS,))


FLOAT32 = quality("float32", 44.62, 0, error=0)
INT8 = quality("int8", 12.26, 0.13)
INT4_CLIP = quality("int4-clip", 7.46, 12.97, 438)
MIXED_CLIP = quality("mixed-clip", 7.73, 9.15, 431)
MIXED_GPTQ = quality("mixed-gptq", 7.73, 4.74, 443)
SMALLEST = quality("smallest", 4.85, 228.99, 431)


def comparison(*qualities: Quality) -> Comparison:
    """On a text of that name."""
    plan = PassagePlan(PASSAGES, 160, 48, 56)
    return Comparison("float32", "held_out.txt", plan, {"mtp-export": "0.1.0"}, qualities)
