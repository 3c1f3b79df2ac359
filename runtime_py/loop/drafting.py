"""The drafts of a round, one after another: each is made from the token and the hidden state before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic

from runtime_py.loop.executor import CacheT, DrafterOutput, DraftFeed, Floats

DraftStep = Callable[[DraftFeed[CacheT]], DrafterOutput]
"""Makes one draft, as ``Executor.draft`` does."""


@dataclass(frozen=True)
class Proposal:
    """A drafted token, and how likely each token was to be drafted (None: it was certain)."""

    token: int
    chances: object | None = None


@dataclass
class DraftChain(Generic[CacheT]):
    """The proposals of one sequence so far; the next draft is to be made from ``feed``."""

    feed: DraftFeed[CacheT]
    propose: Callable[[Floats], Proposal]
    proposals: list[Proposal] = field(default_factory=list)

    def take(self, draft: DrafterOutput) -> None:
        """Propose a token from the draft that was made from ``feed``."""
        proposal = self.propose(draft.logits)
        self.proposals.append(proposal)
        self.feed = replace(self.feed, token=proposal.token, hidden=draft.projected)

    def walk(self, draft: DraftStep[CacheT], steps: int) -> list[Proposal]:
        """Draft ``steps`` times; returns all proposals."""
        for _ in range(steps):
            self.take(draft(self.feed))
        return self.proposals
