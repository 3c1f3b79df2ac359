"""What one step of the ladder found: figures, limits, a verdict.

Knows nothing about models; the rungs fill these in and the reports render them.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtime_py.chat.media import Medium

TAKES_NONE = {medium: f"the bundle takes no {medium.noun}s" for medium in Medium}
"""Why the rungs about pictures or sounds are skipped."""

NO_TOWER = "the bundle takes neither pictures nor sounds"


class Verdict(enum.StrEnum):
    """How a rung ended."""

    PASS = "pass"
    FAIL = "fail"
    SKIPPED = "skipped"


class Bound(enum.StrEnum):
    """Which side of its limit a figure must keep to."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Figure:
    """One measured number. Without ``limit`` it informs and judges nothing."""

    name: str
    value: float
    limit: float | None = None
    bound: Bound = Bound.AT_MOST

    @property
    def ok(self) -> bool:
        """Whether the value keeps to its limit; a value that is not a number never does."""
        if self.limit is None:
            return True
        if math.isnan(self.value):
            return False
        if self.bound is Bound.AT_MOST:
            return self.value <= self.limit
        return self.value >= self.limit


@dataclass(frozen=True)
class NearTie:
    """Two sides chose different tokens, and the noise of the rung explains it.

    ``margin`` is the reference's distance between its first and second logit, ``noise`` the distance
    that numeric error can bridge.
    """

    where: str
    chosen: str
    instead_of: str
    margin: float
    noise: float


@dataclass(frozen=True)
class Rung:
    """One step of the ladder.

    ``note`` is why it was skipped, or what else a reader must know; ``problems`` are findings that
    make it fail without being a number.
    """

    key: str
    title: str
    verdict: Verdict
    figures: tuple[Figure, ...] = ()
    tolerance: str = ""
    note: str = ""
    problems: tuple[str, ...] = ()
    near_ties: tuple[NearTie, ...] = ()
    advice: str = ""
    """What to do about it; empty unless it failed."""

    @property
    def failed_figures(self) -> tuple[Figure, ...]:
        return tuple(figure for figure in self.figures if not figure.ok)

    def summary(self) -> str:
        """One sentence on why it failed or was skipped; empty if it passed."""
        if self.verdict is Verdict.SKIPPED:
            return self.note
        if self.problems:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            return self.problems[0] + more
        worst = self.failed_figures
        if not worst:
            return ""
        more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
        first = worst[0]
        return f"{first.name} is {first.value:.3g}, {first.bound} {first.limit:.3g} allowed{more}"


@dataclass(frozen=True)
class Title:
    """Which rung: its key in reports and tests, its name for a person, and what to do where it fails."""

    key: str
    text: str
    advice: str
    blocks: str = ""
    """Why no other rung is run where this one fails; empty if they are."""
    needs_target: bool = False
    asks_transformers: bool = False

    def judged(
        self,
        figures: Sequence[Figure],
        tolerance: str,
        *,
        problems: Sequence[str] = (),
        near_ties: Sequence[NearTie] = (),
        note: str = "",
    ) -> Rung:
        """The rung, passed if every figure keeps to its limit and there are no problems."""
        ok = not problems and all(figure.ok for figure in figures)
        verdict = Verdict.PASS if ok else Verdict.FAIL
        return Rung(
            self.key,
            self.text,
            verdict,
            tuple(figures),
            tolerance,
            note,
            tuple(problems),
            tuple(near_ties),
            "" if ok else self.advice,
        )

    def skipped(self, reason: str) -> Rung:
        """The rung, not run."""
        return Rung(self.key, self.text, Verdict.SKIPPED, note=reason)
