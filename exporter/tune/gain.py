"""Whether one drafter is better than another on the same prompts, by more than chance explains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.tune.outcome import Estimate


@dataclass(frozen=True)
class Counted:
    """What became of the drafts of one prompt."""

    accepted: int
    drafted: int
    tokens: int
    rounds: int


def acceptance_gain(before: Sequence[Counted], after: Sequence[Counted]) -> Estimate:
    """Accepted by drafted, after less before."""
    return ratio_gain(
        [(one.accepted, one.drafted) for one in before],
        [(one.accepted, one.drafted) for one in after],
    )


def tokens_gain(before: Sequence[Counted], after: Sequence[Counted]) -> Estimate:
    """Tokens a round, after less before."""
    return ratio_gain(
        [(one.tokens, one.rounds) for one in before], [(one.tokens, one.rounds) for one in after]
    )


def ratio_gain(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]]) -> Estimate:
    """The difference of two ratios of sums, with the standard error of pairs.

    Source: the difference of ratio estimators, linearised prompt by prompt (Cochran, "Sampling
    Techniques", chapter 6). ``before`` and ``after`` are (part, whole) of the same prompts.
    """
    influence = _influence(after) - _influence(before)
    count = len(influence)
    error = float(np.std(influence, ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Estimate(_ratio(after) - _ratio(before), error)


def _ratio(pairs: Sequence[tuple[int, int]]) -> float:
    whole = sum(of for _, of in pairs)
    return sum(part for part, _ in pairs) / whole if whole else 0.0


def _influence(pairs: Sequence[tuple[int, int]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How far each prompt pulls the ratio, times the number of prompts."""
    parts, wholes = np.array(pairs, float).reshape(-1, 2).T
    mean = wholes.mean()
    if not mean:
        return np.zeros(len(parts))
    off: np.ndarray[tuple[int], np.dtype[np.float64]] = (parts - _ratio(pairs) * wholes) / mean
    return off
