"""What adaptive drafting has observed: how long calls take, and how often drafts are right."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

TIMES_KEPT = 15
"""Measurements a median is taken over: odd, short enough to follow a changing clock rate."""

HELD_UP = 3.0
"""Times the first duration: a second one that long, by another process's time slice, says nothing."""

MEMORY = 28.0
"""Rounds after which an observation of acceptance weighs 1/e: about as long as a paragraph."""

CARRIED_OVER = 3.0
"""Observations an answer takes over from those before it, at most: the next may be of another kind."""

PRIOR_WEIGHT = 1.0
PRIOR_CHANCE = 0.8
"""Stands for one earlier observation at each draft position: drafting gets a chance first."""


@dataclass
class Times:
    """The latest durations of one kind of call, in seconds.

    The very first, in which LiteRT still allocates, stands in only until there is another; unless that one
    was held up, so that the two are all there is to go by.
    """

    latest: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))
    calls: int = 0
    typical: float = 0.0
    """The median, which forgives an outlier; without any, 0."""

    def add(self, seconds: float) -> None:
        """One more."""
        if self.calls == 1 and seconds < HELD_UP * self.best:
            self.latest.clear()
        self.latest.append(seconds)
        self.calls += 1
        self.typical = median(self.latest)

    @property
    def warm(self) -> bool:
        """Whether the durations are those of calls that allocate nothing."""
        return self.calls > 1

    @property
    def best(self) -> float:
        return min(self.latest)


@dataclass
class Chance:
    """How often a draft position was accepted when it was judged, recent rounds counting more."""

    judged: float = 0.0
    accepted: float = 0.0
    prior: float = PRIOR_CHANCE

    def fade(self) -> None:
        """One round has passed."""
        keep = 1.0 - 1.0 / MEMORY
        self.judged *= keep
        self.accepted *= keep

    def carry_over(self) -> None:
        """Another answer begins: what is known stays, but weighs little."""
        keep = min(1.0, CARRIED_OVER / self.judged) if self.judged else 1.0
        self.judged *= keep
        self.accepted *= keep

    def add(self, *, accepted: bool) -> None:
        """It was judged."""
        self.judged += 1.0
        self.accepted += float(accepted)

    @property
    def value(self) -> float:
        return (self.accepted + PRIOR_WEIGHT * self.prior) / (self.judged + PRIOR_WEIGHT)
