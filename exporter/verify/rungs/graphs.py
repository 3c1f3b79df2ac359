"""Rung: LiteRT computes from the bundle's graphs what our model computes.

Both sides have the bundle's own weights, dequantised for torch, so that only the graphs are compared.
Each part starts from what LiteRT computed before it (its caches, its hidden states), so that a wrong
part does not make the next one look wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from exporter.report.plots import Series
from exporter.verify.allowed import Allowed, nearest_to_limit
from exporter.verify.compare import bridged, compare_choices, position_errors, worst
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Bound, Figure, Rung, Title
from exporter.verify.sides.graph_run import Drafted, GraphRun, floor_logit, replayed, slots
from exporter.verify.sides.noise import draft_errors
from exporter.verify.sides.ring_caches import Caches
from exporter.verify.sides.stored_weights import UnreadableWeightError
from exporter.verify.tolerances import GRAPH_FLOAT
from runtime_py.litert.executor import LitertExecutor

if TYPE_CHECKING:
    from exporter.verify.sides.torch_pair import TorchPair

TITLE = Title(
    "graphs",
    "LiteRT computes what our model computes",
    "Export again with --fresh-graphs; if the same figures are outside, try --recipe float32 to tell a "
    "wrong graph from a kernel of this LiteRT version, and report it with both reports.",
    needs_target=True,
)

LEAST_COMMON_CANDIDATES = 0.5
"""Of a draft's scored tokens, with quantised weights: a rounding may choose another cluster."""


def judge(evidence: Evidence) -> Rung:
    """Compare every signature, and keep the errors of verify for the plot."""
    run, allowed, executor = evidence.run, evidence.allowed, evidence.model.executor
    try:
        pair = evidence.stored_pair
    except UnreadableWeightError as error:
        return TITLE.skipped(str(error))
    with evidence.reporter.stage("Comparing the graphs with torch", None):
        whole = pair.read(run.tokens, run.probes)
        others = [*_decodes(run, pair, allowed), *_drafts(run, pair, allowed)]
    logits = position_errors(run.logits, whole.logits)
    figures = [
        *_embeddings(executor, run, pair),
        *_caches(run, pair.arrays(whole.caches), allowed),
        nearest_to_limit(
            "verify: activations", position_errors(run.hidden, whole.hidden), allowed.hidden
        ),
        nearest_to_limit("verify: logits", logits, allowed.logits),
        *others,
    ]
    noise = bridged(run.logits, whole.logits, allowed.most)
    choices = compare_choices(run.logits, whole.logits.numpy(), run.probes, noise)
    figures.append(Figure("other first choice", len(choices.differing), 0))
    evidence.position_errors.append(Series("LiteRT, torch", run.probes, tuple(logits.tolist())))
    return TITLE.judged(figures, allowed.reason, near_ties=choices.near_ties)


def _embeddings(executor: LitertExecutor, run: GraphRun, pair: TorchPair) -> Iterator[Figure]:
    """Looked up, not multiplied: nothing is rounded."""
    tokens = sorted(set(run.tokens))[:16]
    ours = np.stack([executor.embed(token).copy() for token in tokens])
    per_layer = np.stack([executor.embed_per_layer(token).copy() for token in tokens])
    errors = position_errors(ours, pair.embed(tokens)[0])
    yield Figure("embedder", worst(errors), GRAPH_FLOAT)
    errors = position_errors(per_layer, pair.embed_per_layer(tokens)[0])
    yield Figure("per-layer embedder", worst(errors), GRAPH_FLOAT)


def _caches(run: GraphRun, torch_caches: Caches, allowed: Allowed) -> Iterator[Figure]:
    written = [(f"prefill of {count}", caches, count) for count, caches in run.prefilled]
    for name, caches, count in [*written, ("verify", run.caches, len(run.tokens))]:
        reference = slots(run.contract, torch_caches, count)
        errors = position_errors(slots(run.contract, caches, count), reference)
        yield nearest_to_limit(f"{name}: caches", errors, allowed.caches[:count])


def _decodes(run: GraphRun, pair: TorchPair, allowed: Allowed) -> Iterator[Figure]:
    logits, hidden, caches = [], [], pair.caches(run.caches)
    for position in run.tail:
        step = pair.step(run.tokens[position : position + 1], position, caches)
        caches = step.caches
        logits.append(step.logits[0, 0])
        hidden.append(step.hidden[0, 0])
    errors = position_errors(run.decoded_hidden, np.stack(hidden))
    yield nearest_to_limit("decode: activations", errors, allowed.hidden[run.decoded_from :])
    errors = position_errors(run.decoded_logits, np.stack(logits))
    yield nearest_to_limit("decode: logits", errors, allowed.logits[-len(run.tail) :])


def _drafts(run: GraphRun, pair: TorchPair, allowed: Allowed) -> Iterator[Figure]:
    """Torch is fed the same tokens over the same caches; nothing where one side has no drafter.

    Logits are compared where both sides score a token.
    """
    if not run.drafts or pair.drafter is None:
        return
    caches = pair.caches(run.caches)
    chains = [
        (ours, replayed(pair.draft, caches, ours, run.hidden[ours.committed - 1]))
        for ours in run.drafts
    ]
    errors = [draft_errors(ours, theirs) for ours, theirs in chains]
    projected = np.stack([states for _, states in errors])
    yield nearest_to_limit("draft: projected activations", projected, allowed.draft_projected)
    logits = np.stack([scores for scores, _ in errors])
    yield nearest_to_limit("draft: logits", logits, allowed.draft_logits)
    yield Figure(
        "draft: scored tokens in common",
        min(_in_common(ours, theirs) for ours, theirs in chains),
        LEAST_COMMON_CANDIDATES,
        Bound.AT_LEAST,
    )


def _in_common(ours: Drafted, theirs: Drafted) -> float:
    """Share of the tokens that torch's head scores and LiteRT's does too."""
    scored = theirs.logits > floor_logit()
    return float((scored & (ours.logits > floor_logit())).sum() / scored.sum())
