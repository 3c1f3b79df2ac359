"""The drafts of a round, one after another: each is made from the token and the hidden state before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic

from runtime_py.loop.executor import CacheT, DrafterOutput, DraftFeed, Floats

DraftStep = Callable[[DraftFeed[CacheT]], DrafterOutput]
"""Makes one draft, as ``Executor.draft`` does."""


@dataclass
class DraftChain(Generic[CacheT]):
    """The drafts of one sequence so far; the next is to be made from ``feed``.

    ``choose`` makes a token of the drafter's logits ``[V]`` and the slot that the draft is for.
    """

    feed: DraftFeed[CacheT]
    choose: Callable[[Floats, int], int]
    drafts: list[int] = field(default_factory=list)

    def take(self, output: DrafterOutput) -> None:
        """Choose the draft that was made from ``feed``, whose position is that of the last committed slot."""
        slot = self.feed.position + 2 + len(self.drafts)  # the pending token's comes before
        draft = self.choose(output.logits, slot)
        self.drafts.append(draft)
        self.feed = replace(self.feed, token=draft, hidden=output.projected)

    def walk(self, draft: DraftStep[CacheT], steps: int) -> list[int]:
        """Draft ``steps`` times; returns all drafts."""
        for _ in range(steps):
            self.take(draft(self.feed))
        return self.drafts
