"""Rung: LiteRT computes from the bundle's graphs what our model computes.

Both sides have the bundle's own weights, dequantised for torch, so that only the graphs are compared.
Each part starts from what LiteRT computed before it (its caches, its hidden states), so that a wrong
part does not make the next one look wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from exporter.model.text.drafter import FLOOR_LOGIT
from exporter.verify.allowed import Allowed, nearest_to_limit
from exporter.verify.compare import bridged, compare_choices, position_errors, worst
from exporter.verify.rung import Bound, Figure, Rung
from exporter.verify.sides.graph_run import Drafted, GraphRun, replayed, slots
from exporter.verify.sides.noise import draft_errors
from exporter.verify.sides.torch_pair import Pass, TorchPair, to_arrays
from exporter.verify.titles import GRAPHS as TITLE
from exporter.verify.tolerances import GRAPH_FLOAT
from runtime_py.litert.executor import LitertExecutor

LEAST_COMMON_CANDIDATES = 0.5
"""Of a draft's scored tokens, with quantised weights: a rounding may choose another cluster."""


@dataclass(frozen=True)
class GraphErrors:
    """For the plot, and for the rungs that need the noise of one logit."""

    positions: Sequence[int]
    logits: Sequence[float]


def graph_rung(
    executor: LitertExecutor, run: GraphRun, pair: TorchPair, allowed: Allowed
) -> tuple[Rung, GraphErrors]:
    """Compare every signature."""
    whole = pair.read(run.tokens, run.probes)
    logits = position_errors(run.logits, whole.logits)
    figures = [
        *_embeddings(executor, run, pair),
        *_caches(run, whole, allowed),
        nearest_to_limit(
            "verify: activations", position_errors(run.hidden, whole.hidden), allowed.hidden
        ),
        nearest_to_limit("verify: logits", logits, allowed.logits),
        *_decodes(run, pair, allowed),
        *_drafts(run, pair, allowed),
    ]
    noise = bridged(run.logits, whole.logits, allowed.most)
    choices = compare_choices(run.logits, whole.logits.numpy(), run.probes, noise)
    figures.append(Figure("other first choice", len(choices.differing), 0))
    rung = TITLE.judged(figures, allowed.reason, near_ties=choices.near_ties)
    return rung, GraphErrors(run.probes, logits.tolist())


def _embeddings(executor: LitertExecutor, run: GraphRun, pair: TorchPair) -> Iterator[Figure]:
    """Looked up, not multiplied: nothing is rounded."""
    tokens = sorted(set(run.tokens))[:16]
    ours = np.stack([executor.embed(token).copy() for token in tokens])
    per_layer = np.stack([executor.embed_per_layer(token).copy() for token in tokens])
    errors = position_errors(ours, pair.embed(tokens)[0])
    yield Figure("embedder", worst(errors), GRAPH_FLOAT)
    errors = position_errors(per_layer, pair.embed_per_layer(tokens)[0])
    yield Figure("per-layer embedder", worst(errors), GRAPH_FLOAT)


def _caches(run: GraphRun, whole: Pass, allowed: Allowed) -> Iterator[Figure]:
    written = [(f"prefill of {count}", caches, count) for count, caches in run.prefilled]
    for name, caches, count in [*written, ("verify", run.caches, len(run.tokens))]:
        reference = slots(run.contract, to_arrays(whole.caches), count)
        errors = position_errors(slots(run.contract, caches, count), reference)
        yield nearest_to_limit(f"{name}: caches", errors, allowed.caches[:count])


def _decodes(run: GraphRun, pair: TorchPair, allowed: Allowed) -> Iterator[Figure]:
    logits, hidden, caches = [], [], pair.caches(run.caches)
    for position in run.tail:
        step = pair.step(run.tokens[position : position + 1], position, caches)
        caches = step.caches
        logits.append(step.logits[0, 0])
        hidden.append(step.hidden[0, 0])
    errors = position_errors(run.decoded_hidden, torch.stack(hidden))
    yield nearest_to_limit("decode: activations", errors, allowed.hidden[run.decoded_from :])
    errors = position_errors(run.decoded_logits, torch.stack(logits))
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
    scored = theirs.logits > FLOOR_LOGIT
    return float((scored & (ours.logits > FLOOR_LOGIT)).sum() / scored.sum())
