"""Places in a text to draft from, and the drafts of a round there, step by step."""

from __future__ import annotations

from collections.abc import Iterator

from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.graph import LitertCache
from runtime_py.loop.drafting import DraftChain
from runtime_py.loop.executor import DraftFeed
from runtime_py.loop.speculative import Greedy

Place = DraftFeed[LitertCache]


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
    return tuple(DraftChain(place, Greedy().choose).walk(executor.draft, executor.draft_length))
