"""An executor and a chooser that note what each call takes, so that the loop itself can be timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, ParamSpec, TypeVar

from runtime_py.loop.executor import CacheT, Executor
from runtime_py.loop.speculative import Chooser, Clock

CallKind = Literal["prefill", "decode", "verify", "draft", "draft_round"]

P = ParamSpec("P")
R = TypeVar("R")


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
        self.calls: list[TimedCall] = []
        self.stepwise = False
        self.cache_length, self.draft_length = executor.cache_length, executor.draft_length
        self.new_cache = executor.new_cache
        self.earliest_return = executor.earliest_return
        self.prefill = self._timed("prefill", executor.prefill)
        self.decode = self._timed("decode", executor.decode)
        self.verify = self._timed("verify", executor.verify)
        self.draft = self._timed("draft", executor.draft)
        self.draft_round = self._timed("draft_round", executor.draft_round)

    @property
    def drafts_at_once(self) -> int:
        return 0 if self.stepwise else self._executor.drafts_at_once

    def _timed(self, kind: CallKind, call: Callable[P, R]) -> Callable[P, R]:
        def note(seconds: float) -> None:
            self.calls.append(TimedCall(kind, seconds))

        return timed(call, self._clock, note)


class TimedChooser:
    """Chooses as another chooser does; the time it takes is noted with the latest of ``calls``."""

    def __init__(self, chooser: Chooser, calls: list[TimedCall], clock: Clock) -> None:
        def note(seconds: float) -> None:
            calls[-1].choosing += seconds

        self.greedy = chooser.greedy
        self.choose = timed(chooser.choose, clock, note)
        self.judge = timed(chooser.judge, clock, note)


def timed(call: Callable[P, R], clock: Clock, note: Callable[[float], None]) -> Callable[P, R]:
    """The call; after each ``note`` is told the seconds it took."""

    def call_timed(*arguments: P.args, **named: P.kwargs) -> R:
        begun = clock()
        result = call(*arguments, **named)
        note(clock() - begun)
        return result

    return call_timed
