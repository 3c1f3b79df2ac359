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
    Disagreements,
    compare_choices,
    compare_tokens,
    position_errors,
)
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, NearTie, Rung, Title
from exporter.verify.sides.graph_run import GraphRun, slots

TITLE = Title(
    "shapes",
    "decode, verify and prefill agree with each other",
    "Do not use the bundle with MTP: its text may change with it. Export again with --fresh-graphs; if it "
    "still fails, report it with the LiteRT version.",
)

DRAFTS_DIFFER = "drafts in one call that differ from single steps"

DRAFTS_REASON = "; drafts in one call are made by a single step's operations: the same tokens"


def judge(evidence: Evidence) -> Rung:
    """Compare them on one text, and keep the errors of decode against verify for the plot."""
    run, allowed, noise = evidence.run, evidence.allowed_between_shapes, evidence.noise
    verified = run.tail_logits()
    errors = position_errors(run.decoded_logits, verified).tolist()
    evidence.position_errors.append(Series("decode, verify", tuple(run.tail), tuple(errors)))
    figures = list(_figures(run, allowed))
    choices = compare_choices(run.decoded_logits, verified, tuple(run.tail), noise)
    figures.append(Figure("other first choice", len(choices.differing), 0))
    drafted = _compare_rounds(run, noise)
    reason = allowed.reason
    if run.rounds:
        figures.append(Figure(DRAFTS_DIFFER, len(drafted.differing), 0))
        reason += DRAFTS_REASON
    return TITLE.judged(
        figures,
        reason,
        problems=(*choices.differing, *drafted.differing),
        near_ties=(*choices.near_ties, *drafted.near_ties),
    )


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


def _compare_rounds(run: GraphRun, noise: float) -> Disagreements:
    """Drafts made in one call with the first choices of single steps that were fed the same tokens."""
    near_ties, differing = list[NearTie](), list[str]()
    for drafted in run.rounds:
        start = drafted.steps.committed
        places = [f"draft {n} after position {start}" for n in range(1, len(drafted.tokens) + 1)]
        found = compare_tokens(drafted.tokens, drafted.steps.logits, places, noise)
        near_ties += found.near_ties
        differing += found.differing
    return Disagreements(tuple(near_ties), tuple(differing))
