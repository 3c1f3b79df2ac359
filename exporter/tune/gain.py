"""Whether one drafter is better than another on the same prompts, by more than chance explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.tune.outcome import Estimate
from runtime_py.bench.paired import Count, paired_gain


@dataclass(frozen=True)
class Counted:
    """What became of the drafts of one prompt."""

    accepted: int
    drafted: int
    tokens: int
    rounds: int

    @property
    def acceptance(self) -> Count:
        """Accepted by drafted."""
        return Count(self.accepted, self.drafted)

    @property
    def tokens_per_round(self) -> Count:
        """Emitted tokens by rounds."""
        return Count(self.tokens, self.rounds)


def acceptance_gain(before: Sequence[Counted], after: Sequence[Counted]) -> Estimate:
    """Accepted by drafted, after less before."""
    found = paired_gain([one.acceptance for one in before], [one.acceptance for one in after])
    return Estimate(found.difference, found.error)


def tokens_gain(before: Sequence[Counted], after: Sequence[Counted]) -> Estimate:
    """Tokens a round, after less before."""
    sides = ([one.tokens_per_round for one in side] for side in (before, after))
    found = paired_gain(*sides)
    return Estimate(found.difference, found.error)
