"""Rung: our torch model computes what unmodified transformers computes.

Both have the checkpoint's own weights. This says nothing about the bundle; every later rung leans
on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.verify.compare import Floats, bridged, compare_choices, position_errors, worst
from exporter.verify.rung import Figure, Rung
from exporter.verify.sides.golden import Golden
from exporter.verify.sides.torch_pair import Pass
from exporter.verify.titles import MODEL as TITLE
from exporter.verify.tolerances import REFERENCE

REASON = "same weights, float32 on both sides: only the order of sums differs, measured below 1e-5"


@dataclass(frozen=True)
class ModelErrors:
    """For the plots: relative errors by position and, worst over positions, by layer."""

    positions: Sequence[int]
    logits: Sequence[float]
    layers: Sequence[float]


def model_rung(ours: Pass, golden: Golden) -> tuple[Rung, ModelErrors]:
    """Logits at the probes, hidden states at every position and after every layer."""
    arrays = golden.arrays
    logits = position_errors(ours.logits, arrays["logits"])
    hidden = position_errors(ours.hidden, arrays["hidden"])
    layers = [
        worst(position_errors(mine, theirs))
        for mine, theirs in zip(ours.layers[:-1], arrays["layers"], strict=True)
    ]
    choices = compare_choices(
        ours.logits.numpy(), arrays["logits"], golden.probes, _noise(ours, arrays["logits"])
    )
    figures = (
        Figure("logits, worst position", worst(logits), REFERENCE),
        Figure("hidden state after the final norm, worst position", worst(hidden), REFERENCE),
        Figure("hidden state after a layer, worst layer", max(layers), REFERENCE),
        Figure("positions compared", len(golden.tokens)),
        Figure("other first choice", len(choices.differing), 0),
    )
    rung = TITLE.judged(figures, REASON, problems=choices.differing, near_ties=choices.near_ties)
    return rung, ModelErrors(golden.probes, logits.tolist(), [*layers, worst(hidden)])


def _noise(ours: Pass, reference: Floats) -> float:
    return bridged(ours.logits, reference, REFERENCE)
