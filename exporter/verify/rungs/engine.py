"""Rung: the stock engine's text is the reference runtime's, with MTP off and on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from exporter.verify.answers import PromptAnswers
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, NearTie, Rung, Title
from runtime_py.chat.conversation import PLAIN
from runtime_py.chat.reply_text import Said
from runtime_py.opened_model import OpenedModel
from runtime_py.reply import Reply
from runtime_py.same_text import ReplyLimits, same_text

TITLE = Title(
    "engine",
    "The stock engine gives the reference runtime's text",
    "Look at litert-lm-api's version (pip install 'mtp-export[engine]') and run generate --mtp both: if the "
    "engine differs from itself, it is the engine's; if only from the reference runtime, report it here.",
)

REASON = (
    "text is equal; with MTP the engine may run past its limit by a draft. Where texts part, the "
    "reference runtime's margin there must be within the noise between decode and verify (a "
    "near-tie, listed)"
)


def judge(evidence: Evidence) -> Rung:
    """Compare both modes with the greedy answers."""
    said, answers, model = evidence.engine, evidence.answers, evidence.model
    if said.not_asked:
        return TITLE.skipped(said.not_asked)
    if said.refused:  # the judge refuses the bundle: a finding, not our failure
        return TITLE.judged((), REASON, problems=[said.refused])
    agreed = model.executor.contract
    limits = ReplyLimits(evidence.request.max_new_tokens, agreed.cache_length, agreed.draft_length)
    problems: list[str] = []
    ties: list[NearTie] = []
    figures = []
    for mode, run in (("off", said.off), ("on", said.on)):
        if run is None:
            continue
        before = len(problems)
        replies = list(chain(*run.replies))
        for number, (answer, reply) in enumerate(zip(answers, replies, strict=True), start=1):
            expected = _expected(answer, model, reply)
            if same_text(expected, reply, limits):
                continue
            where = f"MTP {mode}, answer {number}"
            tie = _near_tie(where, answer, model, reply, evidence.noise)
            if tie is not None:
                ties.append(tie)
            else:
                problems.append(_difference(where, _whole(expected), _whole(reply)))
        figures.append(Figure(f"MTP {mode}: answers that differ", len(problems) - before, 0))
        figures.append(Figure(f"MTP {mode}: tokens", run.decode_tokens))
        figures.append(Figure(f"MTP {mode}: tokens per second", run.tokens_per_second))
    figures.append(Figure("answers compared", len(answers)))
    return TITLE.judged(figures, REASON, problems=problems, near_ties=ties)


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
