"""What the batched loop asks of a model: the calls of ``executor``, for several sequences at once.

A call takes any number of sequences up to ``batch``; which of them are together, and in what order,
makes no difference to any of them. Prompts are prefilled one at a time: a prefill is bound by
arithmetic, so side by side they would take as long, and prompts differ in length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

from runtime_py.loop.executor import BaseExecutor, CacheT, DrafterOutput, DraftFeed, TargetOutput


@dataclass(frozen=True)
class Feed(Generic[CacheT]):
    """Tokens of one sequence, for the slots of its cache from ``position`` on."""

    cache: CacheT
    tokens: tuple[int, ...]
    position: int


class BatchExecutor(BaseExecutor[CacheT], Protocol[CacheT]):
    """Runs several sequences at once.

    Results come in the order of the feeds; their arrays hold until the next call of the same kind.
    """

    @property
    def batch(self) -> int:
        """The most sequences of one call."""

    def decode(self, feeds: Sequence[Feed[CacheT]]) -> list[TargetOutput]:
        """One token of each sequence."""

    def verify(self, feeds: Sequence[Feed[CacheT]]) -> list[TargetOutput]:
        """1 to G + 1 tokens of each; G + 1 slots from its position on must be free in each cache."""

    def draft(self, feeds: Sequence[DraftFeed[CacheT]]) -> list[DrafterOutput]:
        """One draft step of each."""
