"""Rung: the speculative loop emits greedy decoding's tokens, in the reference runtime."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.verify.answers import NO_ANSWERS, Answered, PromptAnswers
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, NearTie, Rung, Title
from runtime_py.same_text import first_difference

TITLE = Title(
    "loop",
    "The speculative loop gives greedy decoding's tokens",
    "Use the bundle with MTP off until this is understood; if the shapes rung passed, report it as a bug.",
)

REASON = (
    "tokens are equal; where they part, the greedy side's margin must be within the noise between "
    "decode and verify (a near-tie, listed), and the rest of that answer is not compared"
)


def judge(evidence: Evidence) -> Rung:
    """Compare token by token."""
    return compare_answers(evidence.answers, evidence.noise)


def compare_answers(answers: Sequence[PromptAnswers], noise: float) -> Rung:
    """The tokens of both ways of answering each prompt."""
    if not answers:
        return TITLE.skipped(NO_ANSWERS)
    if not any(answer.speculative for answer in answers):
        return TITLE.skipped("the bundle has no drafter, so there is no speculative loop")
    problems, ties, tokens = [], [], 0
    for number, answer in enumerate(answers, start=1):
        assert answer.speculative is not None
        tokens += len(answer.greedy.tokens)
        at = first_difference(answer.greedy.tokens, answer.speculative.tokens)
        if at is None:
            continue
        if (tie := _near_tie(f"answer {number}, token {at + 1}", answer, at, noise)) is not None:
            ties.append(tie)
        else:
            problems.append(_difference(number, at, answer.greedy, answer.speculative))
    figures = (
        Figure("answers that differ", len(problems), 0),
        Figure("answers that part at a near-tie", len(ties)),
        Figure("answers compared", len(answers)),
        Figure("tokens compared", tokens),
        Figure("noise between decode and verify, in logits", noise),
    )
    return TITLE.judged(figures, REASON, problems=problems, near_ties=ties)


def _near_tie(where: str, answer: PromptAnswers, at: int, noise: float) -> NearTie | None:
    assert answer.speculative is not None
    greedy, speculative = answer.greedy, answer.speculative
    if at >= min(len(greedy.tokens), len(speculative.tokens)) or greedy.margins[at] > noise:
        return None
    chosen, expected = speculative.tokens[at], greedy.tokens[at]
    return NearTie(where, str(chosen), str(expected), greedy.margins[at], noise)


def _difference(number: int, at: int, greedy: Answered, speculative: Answered) -> str:
    if at >= min(len(greedy.tokens), len(speculative.tokens)):
        return f"answer {number}: {len(speculative.tokens)} tokens instead of {len(greedy.tokens)}"
    return (
        f"answer {number}, token {at + 1}: {speculative.tokens[at]} instead of {greedy.tokens[at]}, "
        f"whose margin is {greedy.margins[at]:.2g}"
    )
