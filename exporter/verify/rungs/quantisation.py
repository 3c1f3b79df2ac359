"""Rung: what storing weights in few bits costs, on the given text.

LiteRT with the bundle's weights against the float model with the checkpoint's. The text is not
repeated here, or the model would only have to copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.verify.compare import Floats, compare_choices
from exporter.verify.rung import Bound, Figure, Rung
from exporter.verify.sides.graph_run import GraphRun
from exporter.verify.text_fit import Wide, divergences, log_softmax, surprise
from exporter.verify.titles import QUANTISATION as TITLE
from exporter.verify.tolerances import QUANTISATION, QuantisationLimits

AGREEMENT = "same first choice, share of positions"


@dataclass(frozen=True)
class FloatModel:
    """The float side: logits ``[N, V]`` at the run's probes, and which model they come from."""

    logits: Floats
    name: str


def quantisation_rung(
    run: GraphRun, float_model: FloatModel, fresh: int, bits: int, noise: float
) -> Rung:
    """KL divergence, agreement of first choices, perplexity.

    Args:
        run: LiteRT's side.
        float_model: What it should have been.
        fresh: Length of the text before it repeats itself.
        bits: The fewest of any matrix of the target and of its caches.
        noise: What numeric error alone can bridge; agreements lost to it are shown apart.
    """
    limits = QUANTISATION[bits]
    rows = [row for row, position in enumerate(run.probes) if position < fresh]
    positions = [run.probes[row] for row in rows]
    following = [run.tokens[position + 1] for position in positions if position + 1 < fresh]
    choices = compare_choices(run.logits[rows], float_model.logits[rows], positions, noise)
    ours, theirs = log_softmax(run.logits[rows]), log_softmax(float_model.logits[rows])
    agreeing = 1 - len(choices.differing) / len(rows)
    figures = (
        *_divergences(ours, theirs, limits),
        Figure(AGREEMENT, agreeing, limits.agreement, Bound.AT_LEAST),
        *_perplexities(ours, theirs, following, limits),
        Figure("positions compared", len(rows)),
    )
    note = f"the float model is {float_model.name}"
    return TITLE.judged(figures, _reason(bits), near_ties=choices.near_ties, note=note)


def _divergences(ours: Wide, theirs: Wide, limits: QuantisationLimits) -> tuple[Figure, ...]:
    """Of log probabilities ``[N, V]``."""
    found = divergences(ours, theirs)
    return (
        Figure("KL divergence, mean (nats)", max(float(found.mean()), 0.0), limits.divergence),
        Figure("KL divergence, worst position", float(found.max())),
    )


def _perplexities(
    ours: Wide, theirs: Wide, following: Sequence[int], limits: QuantisationLimits
) -> tuple[Figure, ...]:
    """Of the tokens that follow the first rows of both ``[N, V]``."""
    found, expected = (
        float(np.exp(surprise(side[: len(following)], following).mean())) for side in (ours, theirs)
    )
    return (
        Figure("perplexity", found),
        Figure("perplexity of the float model", expected),
        Figure("perplexity by that of the float model", found / expected, limits.perplexity),
    )


def _reason(bits: int) -> str:
    if bits == 32:
        return "float32: numeric noise only"
    return (
        f"the target's matrices and caches have {bits} bits or more; the limit tells a fault from the "
        "loss such weights are known for, it does not say that the loss is small"
    )
