"""Rung: the stock engine's text is the reference runtime's, with MTP off and on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from exporter.extras import has_engine
from exporter.verify.answers import Answer
from exporter.verify.rung import Figure, NearTie, Rung
from exporter.verify.titles import ENGINE as TITLE
from runtime_py.chat.conversation import PLAIN, Conversation
from runtime_py.chat.reply_text import Said
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.opened_model import OpenedModel
from runtime_py.reply import Reply, RunResult
from runtime_py.same_text import ReplyLimits, same_text

REASON = (
    "text is equal; with MTP the engine may run past its limit by a draft. Where texts part, the "
    "reference runtime's margin there must be within the noise between decode and verify (a "
    "near-tie, listed)"
)


@dataclass(frozen=True)
class EngineRuns:
    """The engine without and, if the bundle has a drafter, with MTP."""

    off: RunResult
    on: RunResult | None


def missing_engine() -> str:
    """Why the engine cannot run; empty if it can."""
    if not has_engine():
        return "the stock engine is not installed: pip install 'mtp-export[engine]'"
    return ""


def run_both(settings: EngineSettings, prompts: Sequence[str], *, drafter: bool) -> EngineRuns:
    """Answer every prompt with MTP off and on.

    Raises:
        EngineError: The engine refused the bundle or stopped.
    """
    conversations = [Conversation.asking(prompt) for prompt in prompts]
    off = run_engine(replace(settings, mtp=False), conversations)
    on = run_engine(replace(settings, mtp=True), conversations) if drafter else None
    return EngineRuns(off, on)


def engine_rung(
    runs: EngineRuns,
    answers: Sequence[Answer],
    model: OpenedModel,
    max_new_tokens: int,
    noise: float,
) -> Rung:
    """Compare both modes with the greedy answers."""
    agreed = model.executor.contract
    limits = ReplyLimits(max_new_tokens, agreed.cache_length, agreed.draft_length)
    problems: list[str] = []
    ties: list[NearTie] = []
    figures = []
    for mode, run in (("off", runs.off), ("on", runs.on)):
        if run is None:
            continue
        before = len(problems)
        replies = list(chain(*run.replies))
        for number, (answer, reply) in enumerate(zip(answers, replies, strict=True), start=1):
            expected = _expected(answer, model, reply)
            if same_text(expected, reply, limits):
                continue
            where = f"MTP {mode}, answer {number}"
            tie = _near_tie(where, answer, model, reply, noise)
            if tie is not None:
                ties.append(tie)
            else:
                problems.append(_difference(where, _whole(expected), _whole(reply)))
        figures.append(Figure(f"MTP {mode}: answers that differ", len(problems) - before, 0))
        figures.append(Figure(f"MTP {mode}: tokens", run.decode_tokens))
        figures.append(Figure(f"MTP {mode}: tokens per second", run.tokens_per_second))
    figures.append(Figure("answers compared", len(answers)))
    return TITLE.judged(figures, REASON, problems=problems, near_ties=ties)


def _expected(answer: Answer, model: OpenedModel, reply: Reply) -> Reply:
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
    where: str, answer: Answer, model: OpenedModel, reply: Reply, noise: float
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
