"""Rung: the stock engine's text is the reference runtime's, with MTP off and on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from exporter.verify.answers import NO_ANSWERS, PromptAnswers
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, NearTie, Rung, Title
from exporter.verify.sides.engine import EngineAnswers
from runtime_py.chat.conversation import PLAIN
from runtime_py.chat.reply_text import Said
from runtime_py.opened_model import OpenedModel
from runtime_py.reply import Reply, RunResult
from runtime_py.same_text import ReplyLimits, same_text

TITLE = Title(
    "engine",
    "The stock engine gives the reference runtime's text",
    "Look at litert-lm-api's version (the extra engine installs a tested one) and run mtp-export compare: "
    "if the engine differs from itself, it is the engine's; if only from the reference runtime, report it.",
)

REASON = (
    "text is equal; with MTP the engine may run past its limit by a draft. Where texts part, the "
    "reference runtime's margin there must be within the noise between decode and verify (a "
    "near-tie, listed)"
)


@dataclass
class Findings:
    """What a comparison of replies has found."""

    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    near_ties: list[NearTie] = field(default_factory=list)

    def judged(self, title: Title, reason: str, note: str = "") -> Rung:
        """The rung."""
        return title.judged(
            self.figures, reason, problems=self.problems, near_ties=self.near_ties, note=note
        )


def judge(evidence: Evidence) -> Rung:
    """Compare both modes with the greedy answers."""
    if reason := evidence.engine.not_asked:
        return TITLE.skipped(reason)
    found = compare_replies(evidence.engine, evidence.answers, evidence, lambda: evidence.noise)
    if not evidence.answers and not found.problems:
        return TITLE.skipped(NO_ANSWERS)
    return found.judged(TITLE, REASON)


def compare_replies(
    said: EngineAnswers,
    answers: Sequence[PromptAnswers],
    evidence: Evidence,
    noise: Callable[[], float],
) -> Findings:
    """What the engine said in each mode with the reference runtime's greedy answers.

    Args:
        said: By the engine.
        answers: Of the reference runtime.
        evidence: Of the bundle.
        noise: Finds what a margin may be that noise bridges; it is called where texts part.
    """
    found = Findings()
    if said.refused:  # the judge refuses the bundle: a finding, not our failure
        found.problems.append(said.refused)
        return found
    for mode, run in (("off", said.off), ("on", said.on)):
        if run is not None:
            _compare_mode(f"MTP {mode}", run, answers, evidence, noise, found)
    found.figures.append(Figure("answers compared", len(answers)))
    return found


def _compare_mode(
    mode: str,
    run: RunResult,
    answers: Sequence[PromptAnswers],
    evidence: Evidence,
    noise: Callable[[], float],
    found: Findings,
) -> None:
    model, before = evidence.model, len(found.problems)
    agreed = model.executor.contract
    limits = ReplyLimits(evidence.request.max_new_tokens, agreed.cache_length, agreed.draft_length)
    replies = list(chain(*run.replies))
    for number, (answer, reply) in enumerate(zip(answers, replies, strict=True), start=1):
        expected, where = _expected(answer, model, reply), f"{mode}, answer {number}"
        if same_text(expected, reply, limits):
            continue
        tie = _near_tie(where, answer, model, reply, noise())
        if tie is not None:
            found.near_ties.append(tie)
        else:
            found.problems.append(_difference(where, _whole(expected), _whole(reply)))
    found.figures += [
        Figure(f"{mode}: answers that differ", len(found.problems) - before, 0),
        Figure(f"{mode}: tokens", run.decode_tokens),
        Figure(f"{mode}: tokens per second", run.tokens_per_second),
    ]


def _expected(answer: PromptAnswers, model: OpenedModel, reply: Reply) -> Reply:
    """The reference runtime's answer as the engine would report it."""
    tokens = answer.greedy.tokens
    said = _said(model, tokens)
    return Reply(
        said.text,
        reply.prefill_tokens,
        0.0,
        len(tokens),
        0.0,
        0.0,
        len(answer.prompt_tokens) + len(tokens),
        said.thought,
    )


def _said(model: OpenedModel, tokens: Sequence[int]) -> Said:
    """An answer taken apart, without its stop token."""
    stops = model.tokenizer.stop_tokens
    reading = model.markers.reading(PLAIN, "")
    reading.push(model.tokenizer.decode([token for token in tokens if token not in stops]))
    return reading.said()


def _whole(said: Said | Reply) -> str:
    """Thought and text, as they were said."""
    return said.thought + said.text


def _near_tie(
    where: str, answer: PromptAnswers, model: OpenedModel, reply: Reply, noise: float
) -> NearTie | None:
    """The token at which the texts part, if its margin was within the noise."""
    tokens, text = answer.greedy.tokens, _whole(reply)
    for at in range(len(tokens)):
        if not text.startswith(_whole(_said(model, tokens[: at + 1]))):
            if answer.greedy.margins[at] > noise:
                return None
            before = _whole(_said(model, tokens[:at]))
            chosen, expected = text[len(before) :][:12], model.tokenizer.text_of(tokens[at])
            margin = answer.greedy.margins[at]
            return NearTie(f"{where}, token {at + 1}", chosen, expected, margin, noise)
    return None


def _difference(where: str, expected: str, text: str) -> str:
    pairs = enumerate(zip(expected, text, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(text)))
    return f"{where}, character {at}: {text[at:][:30]!r} instead of {expected[at:][:30]!r}"
