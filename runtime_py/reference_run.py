"""Whole conversations through the reference runtime, one after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from runtime_py.chat.conversation import Conversation, Turn
from runtime_py.loop.returning import Returning
from runtime_py.loop.rounds import Source
from runtime_py.loop.sampling import GREEDY, SamplingSettings
from runtime_py.loop.speculative import Clock
from runtime_py.opened_model import DRAFTER_ONLY, DraftLength, Opened
from runtime_py.reply import OnChunk, Reply, RunResult, silent
from runtime_py.session import Session


@dataclass(frozen=True)
class RunSettings:
    """How to answer; ``drafts`` 0 is plain decoding. A batch has its drafts from the drafter alone."""

    drafts: DraftLength
    max_new_tokens: int
    sampling: SamplingSettings = GREEDY
    context_length: int | None = None
    sources: Set[Source] = DRAFTER_ONLY
    clock: Clock = time.perf_counter


def run_reference(
    model: Opened[Any],
    settings: RunSettings,
    conversations: Sequence[Conversation],
    on_chunk: OnChunk | None = None,
) -> RunResult:
    """Answer every turn of every conversation; each starts with an empty cache.

    Adaptive drafting learns over all of them.

    Raises:
        ContextFullError: A conversation does not fit into the context.
    """
    policy = model.policy(settings.drafts, sources=settings.sources)
    replies: list[tuple[Reply, ...]] = []
    for conversation in conversations:
        session = model.session(
            history=conversation.history,
            setting=conversation.setting,
            policy=policy,
            sampling=settings.sampling,
            context_length=settings.context_length,
            clock=settings.clock,
        )
        turns = conversation.turns
        replies.append(tuple(_ask(session, turn, settings, on_chunk or silent) for turn in turns))
    return RunResult.counted(replies)


def _ask(session: Session[Any], turn: Turn, settings: RunSettings, on_chunk: OnChunk) -> Reply:
    pieces = Returning(session.ask(turn, settings.max_new_tokens))
    for piece in pieces:
        on_chunk(piece)
    on_chunk(None)
    return pieces.value
