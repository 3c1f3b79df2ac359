"""Whole conversations through the reference runtime, measured like a run of the stock engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runtime_py.chat.conversation import Conversation, Turn
from runtime_py.engine.stock_engine import EngineRun, OnChunk, Reply
from runtime_py.loop.rounds import Acceptance, Round
from runtime_py.loop.sampling import GREEDY, SamplingSettings
from runtime_py.loop.speculative import Clock
from runtime_py.opened_model import DraftLength, Opened
from runtime_py.session import Answer, Session


@dataclass(frozen=True)
class RunSettings:
    """How to answer; ``drafts`` 0 is plain decoding."""

    drafts: DraftLength
    max_new_tokens: int
    sampling: SamplingSettings = GREEDY
    context_length: int | None = None


@dataclass(frozen=True)
class ReferenceRun(EngineRun):
    """What a run of the reference runtime gave, with acceptance by draft position."""

    acceptance: Acceptance


def run_reference(
    model: Opened[Any],
    settings: RunSettings,
    conversations: Sequence[Conversation],
    on_chunk: OnChunk | None = None,
    *,
    clock: Clock = time.perf_counter,
) -> ReferenceRun:
    """Answer every turn of every conversation; each starts with an empty cache.

    Adaptive drafting learns over all of them.

    Raises:
        ContextFullError: A conversation does not fit into the context.
    """
    policy = model.policy(settings.drafts)
    replies: list[tuple[Reply, ...]] = []
    rounds: list[Round] = []
    for conversation in conversations:
        session = model.session(
            history=conversation.history,
            setting=conversation.setting,
            policy=policy,
            sampling=settings.sampling,
            context_length=settings.context_length,
        )
        answered = []
        for turn in conversation.turns:
            answer, first = _ask(session, turn, settings, on_chunk or (lambda text: None), clock)
            rounds += answer.rounds
            answered.append(_reply(answer, first))
        replies.append(tuple(answered))
    acceptance = Acceptance.of(rounds)
    return ReferenceRun(tuple(replies), acceptance.rate, 0.0, acceptance)


def _ask(
    session: Session[Any],
    turn: Turn,
    settings: RunSettings,
    on_chunk: Callable[[str], None],
    clock: Clock,
) -> tuple[Answer, float]:
    """The answer to a turn, and the seconds until its first piece of text."""
    begun, first = clock(), None
    pieces = session.ask(turn, settings.max_new_tokens)
    while True:
        try:
            piece = next(pieces)
        except StopIteration as finished:
            on_chunk("\n")
            return finished.value, first if first is not None else clock() - begun
        first = first if first is not None else clock() - begun
        on_chunk(piece)


def _reply(answer: Answer, first: float) -> Reply:
    """In the stock engine's terms."""
    return Reply(
        text=answer.text,
        thought=answer.thought,
        tool_calls=answer.tool_calls,
        prefill_tokens=answer.prefill_tokens,
        prefill_tokens_per_second=per_second(answer.prefill_tokens, answer.prefill_seconds),
        decode_tokens=len(answer.tokens),
        decode_tokens_per_second=per_second(len(answer.tokens), answer.decode_seconds),
        time_to_first_token=first,
        context_tokens=answer.context_tokens,
    )


def per_second(count: int, seconds: float) -> float:
    """A rate; 0 where nothing took any time."""
    return count / seconds if seconds > 0 else 0.0
