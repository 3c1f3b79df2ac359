"""An executor and a chooser that note what each call takes, so that the loop itself can be timed."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic

from runtime_py.loop.drafting import Proposal
from runtime_py.loop.executor import (
    CacheT,
    DrafterOutput,
    DraftFeed,
    Executor,
    Floats,
    TargetOutput,
)
from runtime_py.loop.speculative import Clock, Greedy


class CallKind(enum.StrEnum):
    """The calls of an executor."""

    PREFILL = "prefill"
    DECODE = "decode"
    VERIFY = "verify"
    DRAFT = "draft"
    DRAFT_ROUND = "draft_round"


@dataclass
class TimedCall:
    """Seconds of one call, and of choosing tokens from the logits that it gave."""

    kind: CallKind
    seconds: float
    choosing: float = 0.0


class TimedExecutor(Generic[CacheT]):
    """Passes every call on to another executor, and keeps a record of it in ``calls``.

    While ``stepwise`` is set, the loop does not see that a round can be drafted in one call.
    """

    def __init__(self, executor: Executor[CacheT], clock: Clock) -> None:
        self._executor, self._clock = executor, clock
        self.cache_length, self.draft_length = executor.cache_length, executor.draft_length
        self.new_cache: Callable[[], CacheT] = executor.new_cache
        self.calls: list[TimedCall] = []
        self.stepwise = False

    @property
    def drafts_at_once(self) -> int:
        return 0 if self.stepwise else self._executor.drafts_at_once

    def prefill(self, cache: CacheT, tokens: Sequence[int], position: int) -> None:
        with self._noted(CallKind.PREFILL):
            self._executor.prefill(cache, tokens, position)

    def decode(self, cache: CacheT, token: int, position: int) -> TargetOutput:
        with self._noted(CallKind.DECODE):
            return self._executor.decode(cache, token, position)

    def verify(self, cache: CacheT, tokens: Sequence[int], position: int) -> TargetOutput:
        with self._noted(CallKind.VERIFY):
            return self._executor.verify(cache, tokens, position)

    def draft(self, feed: DraftFeed[CacheT]) -> DrafterOutput:
        with self._noted(CallKind.DRAFT):
            return self._executor.draft(feed)

    def draft_round(self, feed: DraftFeed[CacheT]) -> Sequence[int]:
        with self._noted(CallKind.DRAFT_ROUND):
            return self._executor.draft_round(feed)

    @contextmanager
    def _noted(self, kind: CallKind) -> Iterator[None]:
        begun = self._clock()
        yield
        self.calls.append(TimedCall(kind, self._clock() - begun))


class TimedGreedy(Greedy):
    """Chooses greedily; the time it takes is noted with the latest of ``calls``."""

    def __init__(self, calls: list[TimedCall], clock: Clock) -> None:
        super().__init__()
        self._calls, self._clock = calls, clock

    def propose(self, logits: Floats) -> Proposal:
        with self._noted():
            return super().propose(logits)

    def judge(self, proposals: Sequence[Proposal], logits: Floats) -> tuple[int, int]:
        with self._noted():
            return super().judge(proposals, logits)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        begun = self._clock()
        yield
        self._calls[-1].choosing += self._clock() - begun
