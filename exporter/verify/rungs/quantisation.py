"""Rung: what storing weights in few bits costs, on the given text.

LiteRT with the bundle's weights against the float model with the checkpoint's. The text is not
repeated here, or the model would only have to copy.
"""

from __future__ import annotations

import numpy as np

from exporter.contract.names import Section
from exporter.verify.compare import compare_choices
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Bound, Figure, Rung, Title
from exporter.verify.text_fit import fit_text
from exporter.verify.tolerances import QUANTISATION

TITLE = Title(
    "quantisation",
    "The bundle against the float model, on the given text",
    "Choose a recipe that loses less: quantize-report compares them on your text, -clip and -gptq recipes "
    "keep more at the same size. Give --prompts like what the model was trained on.",
    needs_target=True,
)

AGREEMENT = "same first choice, share of positions"


def judge(evidence: Evidence) -> Rung:
    """KL divergence, agreement of first choices, perplexity.

    First choices that numeric error alone can change are listed as near-ties.
    """
    run, fresh, bits = (
        evidence.run,
        evidence.text.fresh,
        evidence.fewest_bits(Section.PREFILL_DECODE),
    )
    limits = QUANTISATION[bits]
    if (golden := evidence.golden) is not None:
        logits, name = golden.arrays["logits"], "transformers, float32"
    else:
        logits, name = evidence.float_pass.logits.numpy(), "our torch model, float32"
    rows = [row for row, position in enumerate(run.probes) if position < fresh]
    positions = [run.probes[row] for row in rows]
    following = [run.tokens[position + 1] for position in positions if position + 1 < fresh]
    choices = compare_choices(run.logits[rows], logits[rows], positions, evidence.noise)
    fit = fit_text(run.logits[rows], logits[rows], following)
    perplexity, expected = (
        float(np.exp(side.mean())) for side in (fit.surprise, fit.reference_surprise)
    )
    agreeing = 1 - len(choices.differing) / len(rows)
    figures = (
        Figure("KL divergence, mean (nats)", fit.divergence, limits.divergence),
        Figure("KL divergence, worst position", float(fit.divergences.max())),
        Figure(AGREEMENT, agreeing, limits.agreement, Bound.AT_LEAST),
        Figure("perplexity", perplexity),
        Figure("perplexity of the float model", expected),
        Figure("perplexity by that of the float model", perplexity / expected, limits.perplexity),
        Figure("positions compared", len(rows)),
    )
    note = f"the float model is {name}"
    return TITLE.judged(figures, _reason(bits), near_ties=choices.near_ties, note=note)


def _reason(bits: int) -> str:
    if bits == 32:
        return "float32: numeric noise only"
    return (
        f"the target's matrices and caches have {bits} bits or more; the limit tells a fault from the "
        "loss such weights are known for, it does not say that the loss is small"
    )
