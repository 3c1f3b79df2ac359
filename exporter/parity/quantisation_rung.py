"""Rung: what storing weights in few bits costs, on the given text.

LiteRT with the bundle's weights against the float model with the checkpoint's. The text is not
repeated here, or the model would only have to copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.parity.compare import Floats, compare_choices
from exporter.parity.graph_run import GraphRun
from exporter.parity.rung import Bound, Figure, Rung
from exporter.parity.text_fit import divergences, log_softmax, surprise
from exporter.parity.titles import QUANTISATION as TITLE
from exporter.parity.tolerances import QUANTISATION


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
    ours, theirs = log_softmax(run.logits[rows]), log_softmax(float_model.logits[rows])
    divergence = divergences(ours, theirs)
    choices = compare_choices(run.logits[rows], float_model.logits[rows], positions, noise)
    following = [run.tokens[position + 1] for position in positions if position + 1 < fresh]
    perplexity, float_perplexity = (
        float(np.exp(surprise(side[: len(following)], following).mean())) for side in (ours, theirs)
    )
    figures = (
        Figure("KL divergence, mean (nats)", max(float(divergence.mean()), 0.0), limits.divergence),
        Figure("KL divergence, worst position", float(divergence.max())),
        Figure(
            "same first choice, share of positions",
            1 - len(choices.differing) / len(rows),
            limits.agreement,
            Bound.AT_LEAST,
        ),
        Figure("perplexity", perplexity),
        Figure("perplexity of the float model", float_perplexity),
        Figure(
            "perplexity by that of the float model",
            perplexity / float_perplexity,
            limits.perplexity,
        ),
        Figure("positions compared", len(rows)),
    )
    reason = (
        "float32: numeric noise only"
        if bits == 32
        else f"the target's matrices and caches have {bits} bits or more; the limit tells a fault from the "
        "loss such weights are known for, it does not say that the loss is small"
    )
    note = f"the float model is {float_model.name}"
    return TITLE.judged(figures, reason, near_ties=choices.near_ties, note=note)
