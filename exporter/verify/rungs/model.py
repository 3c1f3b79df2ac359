"""Rung: our torch model computes what unmodified transformers computes.

Both have the checkpoint's own weights. This says nothing about the bundle; every later rung leans
on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.report.plots import Series
from exporter.verify.compare import bridged, compare_choices, position_errors, worst
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, Rung, Title
from exporter.verify.sides.golden import Golden
from exporter.verify.tolerances import REFERENCE

if TYPE_CHECKING:
    from exporter.verify.sides.torch_pair import Pass

TITLE = Title(
    "model",
    "Our torch model is transformers' model",
    "Look at transformers' version: the extra reference installs one that was tested; with "
    "it, this is a bug of mtp-export that concerns every export of this checkpoint.",
    needs_target=True,
    asks_transformers=True,
)

REASON = "same weights, float32 on both sides: only the order of sums differs, measured below 1e-5"


LINE = "torch, transformers"
"""In the plots of errors."""


def judge(evidence: Evidence) -> Rung:
    """Compare the text's pass through both, and keep the errors for the plots."""
    if (golden := evidence.golden) is None:
        return TITLE.skipped(evidence.no_golden)
    ours = evidence.float_pass
    logits = position_errors(ours.logits, golden.arrays["logits"])
    layers = _layer_errors(ours, golden)
    evidence.position_errors.append(Series(LINE, golden.probes, tuple(logits.tolist())))
    evidence.layer_errors.append(Series(LINE, tuple(range(len(layers))), layers))
    return compare_passes(ours, golden)


def compare_passes(ours: Pass, golden: Golden) -> Rung:
    """Logits at the probes, hidden states at every position and after every layer."""
    expected = golden.arrays["logits"]
    *layers, hidden = _layer_errors(ours, golden)
    noise = bridged(ours.logits, expected, REFERENCE)
    choices = compare_choices(ours.logits.numpy(), expected, golden.probes, noise)
    figures = (
        Figure("logits, worst position", worst(position_errors(ours.logits, expected)), REFERENCE),
        Figure("hidden state after the final norm, worst position", hidden, REFERENCE),
        Figure("hidden state after a layer, worst layer", max(layers), REFERENCE),
        Figure("positions compared", len(golden.tokens)),
        Figure("other first choice", len(choices.differing), 0),
    )
    return TITLE.judged(figures, REASON, problems=choices.differing, near_ties=choices.near_ties)


def _layer_errors(ours: Pass, golden: Golden) -> tuple[float, ...]:
    """The worst position after every layer but the last, and after the final norm."""
    layers = zip(ours.layers[:-1], golden.arrays["layers"], strict=True)
    pairs = [*layers, (ours.hidden, golden.arrays["hidden"])]
    return tuple(worst(position_errors(mine, theirs)) for mine, theirs in pairs)
