"""Rung: what a GPU loses in float16, which is what it computes in unless it is asked not to.

All other rungs compare in float32. Here the bundle is compared with itself at the end of a text that fills
the caches: whole numbers end at 2048 in float16, and sums grow with the text, so positions and attention
are lost there first. Needs no checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exporter.contract.names import Accelerator
from exporter.manifest import stored_activations
from exporter.options import Activations
from exporter.verify.compare import Floats, bridged, compare_choices
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Bound, Figure, Rung, Title
from exporter.verify.text_fit import fit_text
from exporter.verify.tolerances import HALF_PRECISION
from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import open_model

TITLE = Title(
    "float16",
    "float16 on the GPU against float32, at the end of a long text",
    "Export with --activations float32, or have the app ask the engine for it: on this GPU float16 says "
    "something else. Report the GPU and its driver.",
)

LONGEST = 8192
"""Tokens of the text, however long the caches are."""

PROBED = 64
"""Tokens at its end whose logits are compared."""

ON_CPU = "the graphs ran on the CPU, in float32; with --accelerator gpu it runs"
ASKS_FOR_FLOAT32 = "the bundle asks for float32 (--activations)"

REASON = (
    "float16 rounds to one part in 2048, which moves the logits of a sound graph by less than a tenth; "
    "a position that is off by one costs more than a nat"
)


def judge(evidence: Evidence) -> Rung:
    """KL divergence and first choices; those that rounding alone can change are near-ties."""
    asked = evidence.request
    if asked.accelerator is Accelerator.CPU:
        return TITLE.skipped(ON_CPU)
    if stored_activations(evidence.inspection.manifest or {}) is Activations.FLOAT32:
        return TITLE.skipped(ASKS_FOR_FLOAT32)
    once, executor = evidence.text.tokens, evidence.model.executor
    length = min(executor.cache_length, LONGEST)
    tokens = (once * (1 + length // len(once)))[:length]
    with evidence.reporter.stage("Reading a long text in float32", None):
        full = last_logits(executor, tokens)
    half_precision = Hardware(asked.accelerator, asked.threads, float16=True)
    drafting = evidence.inspection.has_drafter
    with (
        evidence.reporter.stage("Reading it in float16", None),
        open_model(asked.bundle, half_precision, drafting=drafting) as model,
    ):
        half = last_logits(model.executor, tokens)
    return judge_logits(half, full, length)


def last_logits(executor: LitertExecutor, tokens: Sequence[int]) -> Floats:
    """Logits ``[N, V]`` of the last tokens that fill whole calls, :data:`PROBED` of them or fewer."""
    calls = min(PROBED, len(tokens) // 2) // (executor.draft_length + 1)
    cache, stride = executor.new_cache(), executor.draft_length + 1
    first = len(tokens) - calls * stride
    executor.prefill(cache, tokens[:first], 0)
    read = [
        executor.read(cache, tokens[start : start + stride], start).logits.copy()
        for start in range(first, len(tokens), stride)
    ]
    return np.concatenate(read)


def judge_logits(half: Floats, full: Floats, length: int) -> Rung:
    """Compare the logits ``[N, V]`` of the last N of ``length`` tokens."""
    fit = fit_text(half, full, ())
    noise = bridged(half, full, HALF_PRECISION.tolerance)
    choices = compare_choices(half, full, range(length - len(full), length), noise)
    agreeing = 1 - len(choices.differing) / len(full)
    figures = (
        Figure("KL divergence, mean (nats)", fit.divergence, HALF_PRECISION.divergence),
        Figure("KL divergence, worst position", float(fit.divergences.max())),
        Figure(
            "same first choice, share of positions",
            agreeing,
            HALF_PRECISION.agreement,
            Bound.AT_LEAST,
        ),
        Figure("positions compared", len(full)),
        Figure("last position", length - 1),
    )
    return TITLE.judged(figures, REASON, near_ties=choices.near_ties)
