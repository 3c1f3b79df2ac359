"""Measuring a bundle: both runtimes, MTP off and on, side by side in one run.

A side is a runtime with MTP off or on. Every side answers all prompts once a round, in a process of its
own, one process at a time, and the order turns round after each round, so that a machine that becomes
slower is slower for all. Ratios are taken within a round, then their median: a slow round says nothing.
The costs of single calls come from one more process, which goes first and so also brings the file into
the system's cache.

Knows nothing of output formats. Needs the stock engine only if it is there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from exporter.contract import Accelerator, Contract
from exporter.errors import EngineError
from runtime_py.bench.costs import Costs
from runtime_py.bench.curve import Known, Point, chances, curve
from runtime_py.bench.machine import Machine, describe_machine
from runtime_py.bench.memory import Memory, children_watched
from runtime_py.chat import Conversation
from runtime_py.rounds import Acceptance
from runtime_py.stock_engine import EngineSettings, run_engine

ENGINE, REFERENCE = "stock engine", "reference"

COST_ROUNDS = 24
"""Decodes and verifies that are timed; G times as many draft steps."""
PREFILLS = 3
"""Prefills of each length that are timed."""

LOG_CHARACTERS = 400

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    bundle: Path
    prompts: tuple[str, ...]
    max_new_tokens: int
    rounds: int
    threads: int
    accelerator: Accelerator = Accelerator.CPU


@dataclass(frozen=True)
class Side:
    """A runtime, with or without speculative decoding."""

    runtime: str
    mtp: bool

    @property
    def name(self) -> str:
        return f"{self.runtime}, MTP {'on' if self.mtp else 'off'}"


@dataclass(frozen=True)
class Sample:
    """All prompts answered once by one side."""

    tokens_per_second: float
    load_seconds: float
    memory: Memory
    texts: tuple[str, ...]
    acceptance: Acceptance | None = None
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


@dataclass(frozen=True)
class Bench:
    """Everything measured, and the curve that follows."""

    bundle: str
    draft_length: int
    threads: int
    prompts: int
    max_new_tokens: int
    rounds: int
    machine: Machine
    costs: Costs
    sides: tuple[SideResult, ...]
    ratios: tuple[Ratio, ...]
    acceptance: Acceptance | None
    engine_success_rate: float | None
    chances: tuple[float, ...]
    curve: tuple[Point, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; seconds, bytes and tokens per second."""
        return asdict(self)


def engine_installed() -> bool:
    """Whether the stock engine can be asked."""
    return importlib.util.find_spec("litert_lm") is not None


def sides_of(*, engine: bool, drafter: bool) -> tuple[Side, ...]:
    """The sides that there are, runtimes taking turns."""
    runtimes = (ENGINE, REFERENCE) if engine else (REFERENCE,)
    return tuple(
        Side(runtime, mtp)
        for mtp in ((False, True) if drafter else (False,))
        for runtime in runtimes
    )


def measure(plan: Plan, agreed: Contract, tell: Tell) -> Bench:
    """Measure everything; takes minutes for a model of full size.

    Args:
        plan: What to measure.
        agreed: The bundle's contract.
        tell: Told what is going on.

    Raises:
        EngineError: A process failed; the message says which runtime's and why.
    """
    machine = describe_machine()
    engine = engine_installed()
    tell("costs of single calls, reference runtime ...")
    costs = measure_costs_apart(plan, drafting=agreed.has_drafter)
    sides = sides_of(engine=engine, drafter=agreed.has_drafter)
    samples = take_turns(sides, plan, tell)
    found = {side: _acceptance(of_side) for side, of_side in samples.items()}
    acceptance = found.get(Side(REFERENCE, True))
    return Bench(
        str(plan.bundle),
        agreed.draft_length if agreed.has_drafter else 0,
        plan.threads,
        len(plan.prompts),
        plan.max_new_tokens,
        plan.rounds,
        machine.after_all(),
        costs,
        tuple(_result(side, of_side) for side, of_side in samples.items()),
        ratios(samples),
        acceptance,
        next((s.success_rate for s in samples.get(Side(ENGINE, True), ())), None),
        chances(acceptance) if acceptance else (),
        _curve(agreed, costs, acceptance),
        notes(samples, engine=engine, drafter=agreed.has_drafter),
    )


def take_turns(sides: Sequence[Side], plan: Plan, tell: Tell) -> dict[Side, list[Sample]]:
    """Every side once a round, in turning order."""
    samples: dict[Side, list[Sample]] = {side: [] for side in sides}
    for number in range(plan.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            sample = take(side, plan)
            samples[side].append(sample)
            tell(
                f"round {number + 1} of {plan.rounds}: {side.name}: "
                f"{sample.tokens_per_second:.1f} tokens/s"
            )
    return samples


def take(side: Side, plan: Plan) -> Sample:
    """Answer all prompts in a process of its own."""
    with children_watched() as memory:
        return (
            _ask_engine(side, plan, memory) if side.runtime == ENGINE else _ask(side, plan, memory)
        )


def _ask_engine(side: Side, plan: Plan, memory: Memory) -> Sample:
    settings = EngineSettings(
        plan.bundle, side.mtp, plan.max_new_tokens, plan.accelerator, plan.threads
    )
    run = run_engine(settings, [Conversation.asking(prompt) for prompt in plan.prompts])
    return Sample(
        run.tokens_per_second,
        run.init_seconds,
        memory,
        tuple(run.texts),
        success_rate=run.success_rate,
    )


def _ask(side: Side, plan: Plan, memory: Memory) -> Sample:
    result = _worker(plan, work="answers", drafting=side.mtp)
    counted = result["acceptance"]
    return Sample(
        result["tokens_per_second"],
        result["load_seconds"],
        memory,
        tuple(result["texts"]),
        Acceptance(tuple(counted["drafted"]), tuple(counted["accepted"])) if side.mtp else None,
    )


def measure_costs_apart(plan: Plan, *, drafting: bool) -> Costs:
    """The costs of single calls, measured in another process."""
    result = _worker(
        plan, work="costs", drafting=drafting, timed_rounds=COST_ROUNDS, prefills=PREFILLS
    )
    return Costs.from_json(result["costs"])


def _worker(plan: Plan, **settings: str | int | bool) -> dict[str, Any]:
    request = {**asdict(plan), "bundle": str(plan.bundle), **settings}
    done = subprocess.run(
        [sys.executable, "-m", "runtime_py.bench.worker"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode or not done.stdout:
        raise EngineError(
            f"{plan.bundle}: the reference runtime stopped with status {done.returncode}: "
            f"{done.stderr.strip()[-LOG_CHARACTERS:]}"
        )
    result: dict[str, Any] = json.loads(done.stdout)
    if "error" in result:
        raise EngineError(result["error"])
    return result


def _result(side: Side, samples: Sequence[Sample]) -> SideResult:
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


def ratios(samples: dict[Side, list[Sample]]) -> tuple[Ratio, ...]:
    """Reference by engine, and MTP on by off, as far as there are both."""
    pairs = [
        (f"reference / stock engine, MTP {word}", Side(REFERENCE, mtp), Side(ENGINE, mtp))
        for word, mtp in (("off", False), ("on", True))
    ]
    pairs += [
        (f"MTP on / off, {runtime}", Side(runtime, True), Side(runtime, False))
        for runtime in (ENGINE, REFERENCE)
    ]
    return tuple(
        _ratio(name, samples[above], samples[below])
        for name, above, below in pairs
        if above in samples and below in samples
    )


def _ratio(name: str, above: Sequence[Sample], below: Sequence[Sample]) -> Ratio:
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


def _acceptance(samples: Sequence[Sample]) -> Acceptance | None:
    """Of one round: greedy answers are the same in all."""
    return samples[0].acceptance if samples else None


def _curve(agreed: Contract, costs: Costs, acceptance: Acceptance | None) -> tuple[Point, ...]:
    if not acceptance or not acceptance.drafted or not costs.verify or not costs.draft:
        return ()
    seconds = (costs.decode.median, costs.draft.median, costs.verify.median)
    at_once = costs.draft_round.median if costs.draft_round else None
    return curve(Known(agreed.draft_length, *seconds, chances(acceptance), at_once))


def notes(samples: dict[Side, list[Sample]], *, engine: bool, drafter: bool) -> tuple[str, ...]:
    """What a reader of the figures has to know."""
    found = []
    if not engine:
        found.append(
            "the stock engine is not installed, so only the reference runtime was measured; "
            "pip install 'mtp-export[engine]'"
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


def differing(one: Sample, other: Sample) -> int:
    """Answers that are not the same; one may be cut off earlier, as limits count differently."""
    pairs = zip(one.texts, other.texts, strict=True)
    return sum(not (a.startswith(b) or b.startswith(a)) for a, b in pairs)


def default_threads() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
