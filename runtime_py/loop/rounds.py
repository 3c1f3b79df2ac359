"""The speculative loop's values: where a sequence stands, what a round did, why it ended."""

from __future__ import annotations

import enum
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from runtime_py.loop.executor import Floats


class Finish(enum.StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    LENGTH = "length"
    CONTEXT = "context"


@dataclass(frozen=True)
class Cursor:
    """Where a sequence stands.

    ``position`` slots of the cache are committed; ``pending`` comes next and is not in the cache;
    ``hidden`` ``[H]`` is the target's at the last committed slot, None if it is not known (after a
    prefill), in which case the next round cannot draft.
    """

    position: int
    pending: int
    hidden: Floats | None = None


@dataclass(frozen=True)
class Limits:
    """What ends a generation. ``stop_tokens`` are emitted, then nothing more."""

    max_new_tokens: int
    stop_tokens: frozenset[int]
    context_length: int
    """Cache slots that may be used; at most the executor's ``cache_length``."""


class Source(enum.StrEnum):
    """Where drafts are from: the drafter, or the context, which costs nothing."""

    DRAFTER = "drafter"
    LOOKUP = "lookup"


@dataclass(frozen=True)
class Round:
    """One step of the loop: a decode if ``drafted`` is 0, else a draft and its verification.

    ``tokens`` are emitted; ``committed`` are those that now stand in the cache, in slots from the
    round's position on (the pending token first). Seconds are wall time in drafting and in the target.
    """

    tokens: tuple[int, ...]
    committed: tuple[int, ...]
    drafted: int
    accepted: int
    draft_seconds: float
    target_seconds: float
    source: Source = Source.DRAFTER
    """Of the drafts, if there are any."""

    @property
    def seconds(self) -> float:
        return self.draft_seconds + self.target_seconds


Rounds = Generator[Round, None, Finish]
"""Yields rounds as they are done, returns why there are no more."""


@dataclass(frozen=True)
class Acceptance:
    """Drafts by their position in the round: how often there was one, how often it was accepted."""

    drafted: tuple[int, ...]
    accepted: tuple[int, ...]

    @staticmethod
    def of(rounds: Sequence[Round], source: Source = Source.DRAFTER) -> Acceptance:
        """Count drafts of one source over rounds; positions up to the longest draft."""
        rounds = [done for done in rounds if done.source is source]
        longest = max((done.drafted for done in rounds), default=0)
        drafted, accepted = np.zeros(longest, dtype=int), np.zeros(longest, dtype=int)
        for done in rounds:
            drafted[: done.drafted] += 1
            accepted[: done.accepted] += 1
        return Acceptance(tuple(map(int, drafted)), tuple(map(int, accepted)))

    @staticmethod
    def total(parts: Sequence[Acceptance]) -> Acceptance:
        """Counts of several answers together."""
        drafted, accepted = (
            tuple(map(sum, zip_longest(*counts, fillvalue=0)))
            for counts in ([part.drafted for part in parts], [part.accepted for part in parts])
        )
        return Acceptance(drafted, accepted)

    @property
    def rate(self) -> float | None:
        """Accepted by drafted, as the stock engine counts it; None if nothing was drafted."""
        return sum(self.accepted) / sum(self.drafted) if sum(self.drafted) else None
