"""Sides of a measurement beside each other: a runtime with MTP off or on is a side.

Ratios are taken within a round, then their median: a slow round says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from exporter.pip_install import pip_install
from runtime_py.bench.memory import Memory
from runtime_py.loop.rounds import Acceptance

ENGINE, REFERENCE = "stock engine", "reference"

GAIN = "MTP on / off, {}"
ENGINE_GAIN = GAIN.format(ENGINE)
"""Names of ratios."""


@dataclass(frozen=True)
class Side:
    """A runtime, with or without speculative decoding."""

    runtime: str
    mtp: bool

    @property
    def name(self) -> str:
        return f"{self.runtime}, MTP {'on' if self.mtp else 'off'}"


@dataclass(frozen=True)
class SideRun:
    """All prompts answered once by one side."""

    tokens_per_second: float
    load_seconds: float
    memory: Memory
    texts: tuple[str, ...]
    acceptance: tuple[Acceptance, ...] = ()
    """By prompt; empty without drafting, or where the runtime does not tell."""
    success_rate: float | None = None
    """The engine's own: accepted by drafted."""


@dataclass(frozen=True)
class SideResult:
    """A side over all rounds: medians, and the single rates in the order of the rounds."""

    runtime: str
    mtp: bool
    tokens_per_second: float
    rates: tuple[float, ...]
    load_seconds: float
    peak_resident_bytes: int
    peak_anonymous_bytes: int


@dataclass(frozen=True)
class Ratio:
    """Tokens/s of one side by another's: the median over the rounds, and the extremes.

    ``of_best`` compares the fastest round of each: other jobs on the machine only ever make a round
    slower, so where they disturb, the best rounds are the least disturbed.
    """

    name: str
    median: float
    low: float
    high: float
    of_best: float


def summarise(side: Side, samples: Sequence[SideRun]) -> SideResult:
    """A side's samples, one a round, as one result."""
    rates = tuple(sample.tokens_per_second for sample in samples)
    return SideResult(
        side.runtime,
        side.mtp,
        median(rates),
        rates,
        median(sample.load_seconds for sample in samples),
        max(sample.memory.resident for sample in samples),
        max(sample.memory.anonymous for sample in samples),
    )


def ratios(samples: dict[Side, list[SideRun]]) -> tuple[Ratio, ...]:
    """Reference by engine, and MTP on by off, as far as there are both."""
    pairs = [
        (f"reference / stock engine, MTP {word}", Side(REFERENCE, mtp), Side(ENGINE, mtp))
        for word, mtp in (("off", False), ("on", True))
    ]
    pairs += [
        (GAIN.format(runtime), Side(runtime, True), Side(runtime, False))
        for runtime in (ENGINE, REFERENCE)
    ]
    return tuple(
        _ratio(name, samples[above], samples[below])
        for name, above, below in pairs
        if above in samples and below in samples
    )


def _ratio(name: str, above: Sequence[SideRun], below: Sequence[SideRun]) -> Ratio:
    pairs = [
        (one.tokens_per_second, other.tokens_per_second)
        for one, other in zip(above, below, strict=True)
    ]
    values = [_by(one, other) for one, other in pairs]
    best = _by(max(one for one, _ in pairs), max(other for _, other in pairs))
    return Ratio(name, median(values), min(values), max(values), best)


def _by(one: float, other: float) -> float:
    """0 where nothing was generated."""
    return one / other if other else 0.0


def notes(samples: dict[Side, list[SideRun]], *, engine: bool, drafter: bool) -> tuple[str, ...]:
    """What a reader of the figures has to know."""
    found = []
    if not engine:
        found.append(
            "the stock engine is not installed, so only the reference runtime was measured; "
            f"{pip_install('engine')}"
        )
    if not drafter:
        found.append("the bundle has no drafter, so nothing was drafted")
    found += [
        f"{side.name}: {count} of {len(of_side[0].texts)} answers differ from the reference "
        "runtime's with MTP off, so its tokens/s are of another text"
        for side, of_side in samples.items()
        if (count := differing(samples[Side(REFERENCE, False)][0], of_side[0]))
    ]
    return tuple(found)


def differing(one: SideRun, other: SideRun) -> int:
    """Answers that are not the same; one may be cut off earlier, as limits count differently."""
    pairs = zip(one.texts, other.texts, strict=True)
    return sum(not (a.startswith(b) or b.startswith(a)) for a, b in pairs)
