"""Rung: LiteRT computes from the bundle's graphs what our model computes.

Both sides have the bundle's own weights, dequantised for torch, so that only the graphs are compared.
Each part starts from what LiteRT computed before it (its caches, its hidden states), so that a wrong
part does not make the next one look wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from exporter.model.drafter import FLOOR_LOGIT
from exporter.parity.compare import (
    Floats,
    bridged,
    compare_choices,
    position_errors,
    worst,
)
from exporter.parity.graph_run import Caches, Drafted, GraphRun, slots
from exporter.parity.rung import Bound, Figure, Rung
from exporter.parity.titles import GRAPHS as TITLE
from exporter.parity.tolerances import GraphTolerance
from exporter.parity.torch_pair import Pass, TorchPair, to_arrays
from runtime_py.litert_executor import LitertExecutor

LEAST_COMMON_CANDIDATES = 0.5
"""Of a draft's scored tokens, with quantised weights: a rounding may choose another cluster."""


@dataclass(frozen=True)
class GraphErrors:
    """For the plot, and for the rungs that need the noise of one logit."""

    positions: Sequence[int]
    logits: Sequence[float]


def graph_rung(
    executor: LitertExecutor, run: GraphRun, pair: TorchPair, tolerance: GraphTolerance
) -> tuple[Rung, GraphErrors]:
    """Compare every signature."""
    whole = pair.read(run.tokens, run.probes)
    logits = position_errors(run.logits, whole.logits)
    parts = {
        **_embeddings(executor, run, pair),
        **_prefills(run, whole),
        "verify: caches": _cache_errors(run, run.caches, whole, len(run.tokens)),
        "verify: activations": worst(position_errors(run.hidden, whole.hidden)),
        "verify: logits": worst(logits),
        **_decodes(run, pair),
        **_drafts(run, pair),
    }
    figures = [Figure(name, value, tolerance.error) for name, value in parts.items()]
    if run.drafts:
        figures.append(_candidates(run, pair))
    noise = bridged(run.logits, whole.logits, tolerance.error)
    choices = compare_choices(run.logits, whole.logits.numpy(), run.probes, noise)
    figures.append(Figure("other first choice", len(choices.differing), 0))
    rung = TITLE.judged(figures, tolerance.reason, near_ties=choices.near_ties)
    return rung, GraphErrors(run.probes, logits.tolist())


def _embeddings(executor: LitertExecutor, run: GraphRun, pair: TorchPair) -> dict[str, float]:
    tokens = sorted(set(run.tokens))[:16]
    ours = np.stack([executor.embed(token).copy() for token in tokens])
    per_layer = np.stack([executor.embed_per_layer(token).copy() for token in tokens])
    return {
        "embedder": worst(position_errors(ours, pair.embed(tokens)[0])),
        "per-layer embedder": worst(position_errors(per_layer, pair.embed_per_layer(tokens)[0])),
    }


def _cache_errors(run: GraphRun, ours: Caches, whole: Pass, count: int) -> float:
    reference = slots(run.contract, to_arrays(whole.caches), count)
    return worst(position_errors(slots(run.contract, ours, count), reference))


def _prefills(run: GraphRun, whole: Pass) -> dict[str, float]:
    return {
        f"prefill of {count}: caches": _cache_errors(run, caches, whole, count)
        for count, caches in run.prefilled
    }


def _decodes(run: GraphRun, pair: TorchPair) -> dict[str, float]:
    logits, hidden, caches = [], [], pair.caches(run.caches)
    for position in run.tail:
        step = pair.step(run.tokens[position : position + 1], position, caches)
        caches = step.caches
        logits.append(step.logits[0, 0])
        hidden.append(step.hidden[0, 0])
    return {
        "decode: activations": worst(position_errors(run.decoded_hidden, torch.stack(hidden))),
        "decode: logits": worst(position_errors(run.decoded_logits, torch.stack(logits))),
    }


def _replayed(run: GraphRun, pair: TorchPair, drafted: Drafted) -> tuple[Floats, Floats]:
    """Torch's logits and states for the same chain of tokens, over the same caches."""
    state = torch.from_numpy(run.hidden[drafted.committed - 1])
    logits, projected, caches = [], [], pair.caches(run.caches)
    for token in drafted.tokens:
        step = pair.draft(token, state, drafted.committed, caches)
        state = step.projected
        logits.append(step.logits.numpy())
        projected.append(state.numpy())
    return np.stack(logits), np.stack(projected)


def _drafts(run: GraphRun, pair: TorchPair) -> dict[str, float]:
    """Logits are compared where both sides score a token."""
    logits, projected = [0.0], [0.0]
    for drafted in run.drafts:
        their_logits, their_projected = _replayed(run, pair, drafted)
        both = (drafted.logits > FLOOR_LOGIT) & (their_logits > FLOOR_LOGIT)
        ours, theirs = (np.where(both, x, 0) for x in (drafted.logits, their_logits))
        logits.append(worst(position_errors(ours, theirs)))
        projected.append(worst(position_errors(drafted.projected, their_projected)))
    if not run.drafts:
        return {}
    return {"draft: projected activations": max(projected), "draft: logits": max(logits)}


def _candidates(run: GraphRun, pair: TorchPair) -> Figure:
    """Share of the tokens that torch's head scores and LiteRT's does too."""
    shares = []
    for drafted in run.drafts:
        theirs = _replayed(run, pair, drafted)[0] > FLOOR_LOGIT
        both = theirs & (drafted.logits > FLOOR_LOGIT)
        shares.append(both.sum() / theirs.sum())
    return Figure(
        "draft: scored tokens in common",
        float(min(shares)),
        LEAST_COMMON_CANDIDATES,
        Bound.AT_LEAST,
    )
