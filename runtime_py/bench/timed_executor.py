"""An executor and a chooser that note what each call takes, so that the loop itself can be timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal

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

CallKind = Literal["prefill", "decode", "verify", "draft", "draft_round"]


@dataclass
class TimedCall:
    """Seconds of one call, and of choosing tokens from the logits that it gave."""

    kind: CallKind
    seconds: float
    choosing: float = 0.0

    @property
    def total(self) -> float:
        return self.seconds + self.choosing


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
        with self._noted("prefill"):
            self._executor.prefill(cache, tokens, position)

    def decode(self, cache: CacheT, token: int, position: int) -> TargetOutput:
        with self._noted("decode"):
            return self._executor.decode(cache, token, position)

    def verify(self, cache: CacheT, tokens: Sequence[int], position: int) -> TargetOutput:
        with self._noted("verify"):
            return self._executor.verify(cache, tokens, position)

    def draft(self, feed: DraftFeed[CacheT]) -> DrafterOutput:
        with self._noted("draft"):
            return self._executor.draft(feed)

    def draft_round(self, feed: DraftFeed[CacheT]) -> Sequence[int]:
        with self._noted("draft_round"):
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
