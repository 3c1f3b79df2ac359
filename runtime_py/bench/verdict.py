"""Whether MTP pays with a bundle, and what to do: from accepted drafts and what a round costs.

A round of G drafts emits E tokens (:mod:`runtime_py.bench.drafts`) and costs C decodes, so it is E / C
times as fast as decoding. E is known up to two standard errors by prompt
(:mod:`runtime_py.bench.paired`), C within the quartiles of its turns (:mod:`runtime_py.bench.costs`).
Where both sides were run, the measured ratio of their tokens/s goes before E / C. MTP pays, or does not,
where all that the noise allows is on one side of 1 and the ratio itself differs from 1 by :data:`EVEN`.

The stock engine always drafts G tokens, which an export decides: ``best`` is the length to export with, 0
for none. Other lengths are worth what :mod:`runtime_py.bench.curve` estimates, the worse of its two
estimates. The reference runtime's ``auto`` chooses from 0 to G as it goes: ``auto`` is what it should come
to.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runtime_py.bench.curve import Known, Point, curve
from runtime_py.bench.drafts import Drafts
from runtime_py.bench.paired import LEAST_PROMPTS, Gain

EVEN = 0.05
"""A speed-up this near 1 is none: costs differ by as much between two runs on one machine, and adaptive
drafting promises no better."""


WIDE = 0.4
"""Where the bounds of a speed-up near 1 are farther apart, it is not known to be near 1."""


class Outcome(enum.StrEnum):
    """What can be concluded."""

    PAYS = "MTP pays"
    LOSES = "MTP does not pay"
    EVEN = "MTP makes no difference"
    UNCLEAR = "not beyond noise"
    TOO_FEW = "too few prompts"
    NO_COSTS = "costs not measured"
    NOTHING_DRAFTED = "nothing was drafted"
    NO_DRAFTER = "no drafter"


@dataclass(frozen=True)
class Speed:
    """Tokens/s with MTP by those without, and the bounds that noise leaves; None if these are not known."""

    value: float
    low: float | None = None
    high: float | None = None
    measured: bool = True
    """False where it follows from what single calls cost."""

    @staticmethod
    def of_pairs(gain: Gain) -> Speed | None:
        """From tokens over seconds by prompt, MTP off and on; None where nothing was timed."""
        if gain.ratio is None:
            return None
        return Speed(gain.ratio)._within(gain.ratio_noise)

    @staticmethod
    def of_costs(drafts: Drafts, known: Known) -> Speed:
        """From a round's cost in decodes."""
        tokens = drafts.tokens
        found = Speed(tokens.value / known.round_cost, measured=False)
        if not math.isfinite(tokens.noise):
            return found
        cheap, dear = known.round_costs
        low, high = (tokens.value - tokens.noise) / dear, (tokens.value + tokens.noise) / cheap
        return replace(found, low=max(0.0, low), high=high)

    @staticmethod
    def of_rounds(median: float, low: float, high: float, drafts: Drafts) -> Speed:
        """From repeated runs over the same prompts; other prompts would differ besides."""
        sampled = Speed(median)._within(median * drafts.tokens.noise / drafts.tokens.value)
        if sampled.low is None or sampled.high is None:
            return sampled
        return Speed(median, min(low, sampled.low), max(high, sampled.high))

    def _within(self, noise: float) -> Speed:
        if not math.isfinite(noise):
            return self
        return replace(self, low=max(0.0, self.value - noise), high=self.value + noise)


@dataclass(frozen=True)
class Length:
    """Drafts a round, 0 for none, and the speed-up over plain decoding that they bring."""

    drafts: int
    speed_up: float


@dataclass(frozen=True)
class MtpVerdict:
    """What can be concluded, from what; :mod:`runtime_py.bench.verdict_text` says it in words."""

    outcome: Outcome
    drafts: Drafts | None = None
    round_cost: float | None = None
    """In decodes."""
    speed: Speed | None = None
    """Of rounds of ``drafts.length`` drafts, or of adaptive drafting."""
    best: Length | None = None
    """For the stock engine: what to export with. None where that cannot be said."""
    perhaps: Length | None = None
    """A length that may be better by far if every row of a verify costs the same, which is not measured."""
    auto: Length | None = None
    """For the reference runtime with this bundle."""

    @property
    def ceiling(self) -> float | None:
        """The speed-up if every draft were accepted; None where that is not known."""
        if self.drafts is None or self.speed is None or self.drafts.adaptive:
            return None
        return self.speed.value * (self.drafts.length + 1) / self.drafts.tokens.value


def judge(
    drafts: Drafts | None,
    known: Known | None = None,
    measured: Speed | None = None,
    *,
    drafter: bool = True,
) -> MtpVerdict:
    """Conclude what can be concluded.

    Args:
        drafts: What became of them; None where nothing was drafted.
        known: What single calls cost, if that was measured.
        measured: MTP on by off, if both were run in the way ``drafts`` were made; goes before ``known``.
        drafter: Whether the bundle has one.
    """
    if drafts is None:
        return MtpVerdict(Outcome.NOTHING_DRAFTED if drafter else Outcome.NO_DRAFTER)
    if known is not None:
        speed = measured or Speed.of_costs(drafts, known)
    elif measured is not None:
        speed = measured
    else:
        return MtpVerdict(_without_costs(drafts), drafts)
    outcome = _outcome(speed)
    cost = None if drafts.adaptive or not speed.value else drafts.tokens.value / speed.value
    found = MtpVerdict(outcome, drafts, known.round_cost if known else cost, speed)
    if known is None or outcome is Outcome.TOO_FEW:
        return found
    points = curve(known)
    scale = speed.value / points[known.drafts - 1].steps if speed.value else 1.0
    best = _best(points, known.drafts, scale)
    return MtpVerdict(
        outcome,
        drafts,
        found.round_cost,
        speed,
        best,
        _perhaps(points, known.drafts, scale, best),
        _auto(points[: known.drafts]),
    )


def _without_costs(drafts: Drafts) -> Outcome:
    """A verify costs no less than a decode, so a round that emits hardly more than one token never pays."""
    if drafts.tokens.prompts < LEAST_PROMPTS:
        return Outcome.TOO_FEW
    return Outcome.LOSES if drafts.tokens.value < 1 + EVEN else Outcome.NO_COSTS


def _outcome(speed: Speed) -> Outcome:
    if speed.low is None or speed.high is None:
        return Outcome.TOO_FEW
    if abs(speed.value - 1) < EVEN and speed.high - speed.low < WIDE:
        return Outcome.EVEN
    if speed.low > 1:
        return Outcome.PAYS
    return Outcome.LOSES if speed.high < 1 else Outcome.UNCLEAR


def _best(points: Sequence[Point], own: int, scale: float) -> Length:
    """The length to export with; the bundle's own unless another is better by more than :data:`EVEN`."""
    lengths = [Length(point.drafts, scale * min(point.line, point.steps)) for point in points]
    best, kept = max(lengths, key=lambda length: length.speed_up), lengths[own - 1]
    if best.speed_up < kept.speed_up * (1 + EVEN):
        best = kept
    return best if best.speed_up > 1 + EVEN else Length(0, 1.0)


def _perhaps(points: Sequence[Point], own: int, scale: float, best: Length) -> Length | None:
    point = max(points, key=lambda point: point.line)
    found = Length(point.drafts, scale * point.line)
    better = found.speed_up > (1 + 2 * EVEN) * best.speed_up
    return found if better and found.drafts not in (own, best.drafts) else None


def _auto(points: Sequence[Point]) -> Length:
    best = max(points, key=lambda point: point.steps)
    return Length(best.drafts, best.steps) if best.steps > 1 else Length(0, 1.0)
