"""What one side gains over another on the same prompts, and whether that is more than noise.

A side's figure is a ratio of sums over prompts: tokens by rounds, accepted by drafted, tokens by seconds.
What happens within one answer is much alike, so that not rounds but prompts are the sample: the standard
error is that of the prompts' residuals (Cochran, Sampling Techniques, 3rd edition, section 6.4), and
for a difference the residuals of both sides on a prompt are subtracted first, as in a paired test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_PROMPTS = 6
"""Fewer conclude nothing. That all of five go one way happens by chance once in 16 times (2 / 2^5),
that all of six do less than once in 20."""

ERRORS = 2.0
"""Standard errors that count as noise. What is beyond them without a cause is one in ten differences of
6 prompts and one in 17 of 20."""


@dataclass(frozen=True)
class Count:
    """One prompt on one side: ``amount`` of something over a ``base``, as tokens over rounds."""

    amount: float
    base: float


@dataclass(frozen=True)
class Estimate:
    """A ratio over all prompts, and its standard error; None where a single prompt has none."""

    value: float
    error: float | None
    prompts: int

    @property
    def noise(self) -> float:
        """What the value may be off by; infinite where that is not known, or for too few prompts."""
        return _noise(self.error, self.prompts)


@dataclass(frozen=True)
class Gain:
    """A ratio on two sides, paired by prompt.

    ``error`` is the standard error of ``difference``, ``ratio_error`` that of ``ratio``; they are None where
    there are fewer than two prompts, the latter also where a side is 0.
    """

    before: float
    after: float
    error: float | None
    ratio_error: float | None
    prompts: int

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def ratio(self) -> float | None:
        """None where ``before`` is 0."""
        return self.after / self.before if self.before else None

    @property
    def noise(self) -> float:
        """What the difference may be off by; infinite where that is not known, or for too few prompts."""
        return _noise(self.error, self.prompts)

    @property
    def ratio_noise(self) -> float:
        """What the ratio may be off by, likewise."""
        return _noise(self.ratio_error, self.prompts)

    @property
    def beyond_noise(self) -> bool:
        """Whether the sides differ, in either direction, by more than two standard errors."""
        return abs(self.difference) > self.noise


def estimate(counts: Sequence[Count]) -> Estimate:
    """A ratio on one side; 0 where nothing was counted."""
    counts = [count for count in counts if count.base]
    return Estimate(_ratio(counts), standard_error(residuals(counts)), len(counts))


def paired_gain(before: Sequence[Count], after: Sequence[Count]) -> Gain:
    """Compare two sides.

    Args:
        before: By prompt.
        after: By prompt, in the order of ``before``. A prompt whose base is 0 on either side is left out.

    Raises:
        ValueError: The sides have not as many prompts.
    """
    pairs = [
        (one, other) for one, other in zip(before, after, strict=True) if one.base and other.base
    ]
    sides = [one for one, _ in pairs], [other for _, other in pairs]
    below, above = map(_ratio, sides)
    both = list(zip(*map(residuals, sides), strict=True))
    ratio_error = None
    if below and above:
        relative = standard_error([b / above - a / below for a, b in both])
        ratio_error = None if relative is None else relative * above / below
    error = standard_error([b - a for a, b in both])
    return Gain(below, above, error, ratio_error, len(pairs))


def residuals(counts: Sequence[Count]) -> list[float]:
    """What each prompt adds to the ratio's error; their sum is 0."""
    ratio, base = _ratio(counts), sum(count.base for count in counts)
    return [(count.amount - ratio * count.base) / base for count in counts]


def standard_error(of_prompts: Sequence[float]) -> float | None:
    """Of a sum of residuals, one a prompt; None for fewer than two."""
    prompts = len(of_prompts)
    if prompts < 2:
        return None
    return math.sqrt(prompts / (prompts - 1) * math.fsum(one * one for one in of_prompts))


def _ratio(counts: Sequence[Count]) -> float:
    base = sum(count.base for count in counts)
    return sum(count.amount for count in counts) / base if base else 0.0


def _noise(error: float | None, prompts: int) -> float:
    return math.inf if error is None or prompts < LEAST_PROMPTS else ERRORS * error
