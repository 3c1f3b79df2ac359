"""Rung: decode, verify and prefill of one bundle agree with each other, and so do its ways to draft.

Needs no checkpoint. This is what speculative decoding rests on: a token verified among its drafts must
be the token that decoding would have given. The graph that drafts a whole round in one call must give
the tokens of single steps, which are what the later rungs compare.
"""

from __future__ import annotations

from collections.abc import Iterator

from exporter.report.plots import Series
from exporter.verify.allowed import Allowed, nearest_to_limit
from exporter.verify.compare import (
    Choices,
    bridged,
    compare_choices,
    compare_tokens,
    position_errors,
)
from exporter.verify.rung import Figure, NearTie, Rung
from exporter.verify.sides.graph_run import GraphRun, slots
from exporter.verify.titles import SHAPES as TITLE

DRAFTS_DIFFER = "drafts in one call that differ from single steps"

DRAFTS_REASON = "; drafts in one call are made by a single step's operations: the same tokens"


def shapes_rung(run: GraphRun, allowed: Allowed) -> tuple[Rung, float]:
    """Compare them on one text; also gives the noise between two logits of decode and verify."""
    verified = run.tail_logits()
    figures = list(_figures(run, allowed))
    noise = bridged(run.decoded_logits, verified, allowed.most)
    choices = compare_choices(run.decoded_logits, verified, tuple(run.tail), noise)
    figures.append(Figure("other first choice", len(choices.differing), 0))
    drafted = _compare_rounds(run, noise)
    reason = allowed.reason
    if run.rounds:
        figures.append(Figure(DRAFTS_DIFFER, len(drafted.differing), 0))
        reason += DRAFTS_REASON
    rung = TITLE.judged(
        figures,
        reason,
        problems=(*choices.differing, *drafted.differing),
        near_ties=(*choices.near_ties, *drafted.near_ties),
    )
    return rung, noise


def _figures(run: GraphRun, allowed: Allowed) -> Iterator[Figure]:
    last = slice(run.decoded_from, None)
    yield nearest_to_limit(
        "decode and verify: logits",
        position_errors(run.decoded_logits, run.tail_logits()),
        allowed.logits[-len(run.tail) :],
    )
    yield nearest_to_limit(
        "decode and verify: activations",
        position_errors(run.decoded_hidden, run.hidden[last]),
        allowed.hidden[last],
    )
    for count, caches in run.prefilled:
        verified = slots(run.contract, run.caches, count)
        yield nearest_to_limit(
            f"prefill of {count} and verify: caches",
            position_errors(slots(run.contract, caches, count), verified),
            allowed.caches[:count],
        )


def _compare_rounds(run: GraphRun, noise: float) -> Choices:
    """Drafts made in one call with the first choices of single steps that were fed the same tokens."""
    near_ties, differing = list[NearTie](), list[str]()
    for drafted in run.rounds:
        start = drafted.steps.committed
        places = [f"draft {n} after position {start}" for n in range(1, len(drafted.tokens) + 1)]
        found = compare_tokens(drafted.tokens, drafted.steps.logits, places, noise)
        near_ties += found.near_ties
        differing += found.differing
    return Choices(tuple(near_ties), tuple(differing))


def series(run: GraphRun) -> Series:
    """Error of decode against verify by position, for the plot."""
    errors = position_errors(run.decoded_logits, run.tail_logits())
    return Series("decode, verify", tuple(run.tail), tuple(errors.tolist()))
