"""Places in a text to draft from, and the drafts of a round there: step by step, and in one call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtime_py.litert.executor import LitertCache, LitertExecutor
from runtime_py.loop.executor import Floats


@dataclass(frozen=True)
class Place:
    """Where something can be drafted; fields as the arguments of ``Executor.draft``."""

    cache: LitertCache
    token: int
    hidden: Floats  # [H]
    position: int


def places(executor: LitertExecutor, tokens: list[int], count: int) -> Iterator[Place]:
    """After a text, and after each token that the target goes on with; all in one cache."""
    cache, token = executor.new_cache(), tokens[-1]
    executor.prefill(cache, tokens[:-1], 0)
    for position in range(len(tokens) - 1, len(tokens) - 1 + count):
        step = executor.decode(cache, token, position)
        token = int(step.logits[0].argmax())
        yield Place(cache, token, step.hidden[0].copy(), position)


def one_by_one(executor: LitertExecutor, place: Place) -> tuple[int, ...]:
    """G drafts of single steps."""
    token, hidden, drafted = place.token, place.hidden, []
    for _ in range(executor.draft_length):
        draft = executor.draft(place.cache, token, hidden, place.position)
        token, hidden = int(draft.logits.argmax()), draft.projected
        drafted.append(token)
    return tuple(drafted)


def at_once(executor: LitertExecutor, place: Place) -> tuple[int, ...]:
    """All of them in one call."""
    return executor.draft_round(place.cache, place.token, place.hidden, place.position)
