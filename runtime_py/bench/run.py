"""Measuring a bundle: both runtimes, MTP off and on, side by side in one run.

A side is a runtime with MTP off or on. Every side answers all prompts once a round, in a process of its
own, one process at a time, and the order turns round after each round, so that a machine that becomes
slower is slower for all (:mod:`runtime_py.bench.comparison` has what follows).
The costs of single calls come from one more process, which goes first and so also brings the file into
the system's cache.

Knows nothing of output formats. Needs the stock engine only if it is there.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from exporter.child_process import child_command
from exporter.contract.names import Accelerator
from exporter.contract.text import Contract
from exporter.errors import EngineError, MtpExportError
from runtime_py.bench.comparison import (
    ENGINE,
    ENGINE_GAIN,
    REFERENCE,
    Ratio,
    Side,
    SideResult,
    SideRun,
    notes,
    ratios,
    summarise,
)
from runtime_py.bench.costs import Costs
from runtime_py.bench.curve import Point, chances, curve
from runtime_py.bench.drafts import Drafts
from runtime_py.bench.machine import Machine, describe_machine
from runtime_py.bench.memory import Memory, children_watched
from runtime_py.bench.verdict import MtpVerdict, Speed, judge
from runtime_py.bench.verdict_text import as_json
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.loop.rounds import Acceptance

LOG_CHARACTERS = 400

LEAST_ROUNDS = 3
"""Rounds whose spread says how much a measured ratio is worth; with fewer the verdict goes by costs."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class BenchPlan:
    """What to measure."""

    bundle: Path
    prompts: tuple[str, ...]
    max_new_tokens: int
    rounds: int
    threads: int
    accelerator: Accelerator = Accelerator.CPU


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
    verdict: MtpVerdict

    def to_json(self) -> dict[str, Any]:
        """Plain values; seconds, bytes and tokens per second."""
        return {**asdict(self), "verdict": as_json(self.verdict)}


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


def measure(plan: BenchPlan, agreed: Contract, tell: Tell) -> Bench:
    """Measure everything; takes minutes for a model of full size.

    Args:
        plan: What to measure.
        agreed: The bundle's contract.
        tell: Told what is going on.

    Raises:
        MtpExportError: A process failed; the message says which runtime's and why.
    """
    machine = describe_machine()
    engine = engine_installed()
    tell("costs of single calls, reference runtime ...")
    costs: Costs = _worker(plan, "costs", drafting=agreed.has_drafter)
    sides = sides_of(engine=engine, drafter=agreed.has_drafter)
    samples = take_turns(sides, plan, tell)
    by_prompt = _by_prompt(samples)
    acceptance = Acceptance.total(by_prompt) if by_prompt else None
    known = costs.known(agreed.draft_length, acceptance) if acceptance else None
    compared = ratios(samples)
    drafts = Drafts.of(by_prompt, agreed.draft_length)
    return Bench(
        str(plan.bundle),
        agreed.draft_length if agreed.has_drafter else 0,
        plan.threads,
        len(plan.prompts),
        plan.max_new_tokens,
        plan.rounds,
        machine.after_all(),
        costs,
        tuple(summarise(side, of_side) for side, of_side in samples.items()),
        compared,
        acceptance,
        next((s.success_rate for s in samples.get(Side(ENGINE, True), ())), None),
        chances(acceptance) if acceptance else (),
        curve(known) if known else (),
        notes(samples, engine=engine, drafter=agreed.has_drafter),
        judge(drafts, known, _measured(compared, drafts, plan), drafter=agreed.has_drafter),
    )


def take_turns(sides: Sequence[Side], plan: BenchPlan, tell: Tell) -> dict[Side, list[SideRun]]:
    """Every side once a round, in turning order."""
    samples: dict[Side, list[SideRun]] = {side: [] for side in sides}
    for number in range(plan.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            sample = take(side, plan)
            samples[side].append(sample)
            tell(
                f"round {number + 1} of {plan.rounds}: {side.name}: "
                f"{sample.tokens_per_second:.1f} tokens/s"
            )
    return samples


def take(side: Side, plan: BenchPlan) -> SideRun:
    """Answer all prompts in a process of its own."""
    with children_watched() as memory:
        return (
            _ask_engine(side, plan, memory) if side.runtime == ENGINE else _ask(side, plan, memory)
        )


def _ask_engine(side: Side, plan: BenchPlan, memory: Memory) -> SideRun:
    settings = EngineSettings(
        plan.bundle, side.mtp, plan.max_new_tokens, plan.accelerator, plan.threads
    )
    run = run_engine(settings, [Conversation.asking(prompt) for prompt in plan.prompts])
    return SideRun(
        run.tokens_per_second,
        run.init_seconds,
        memory,
        tuple(run.texts),
        success_rate=run.success_rate,
    )


def _ask(side: Side, plan: BenchPlan, memory: Memory) -> SideRun:
    answered: SideRun = _worker(plan, "answers", drafting=side.mtp)
    return replace(answered, memory=memory)


def _worker(plan: BenchPlan, work: str, *, drafting: bool) -> Any:
    """What another process gives that does the ``work``: answers, or costs."""
    done = subprocess.run(
        child_command("runtime_py.bench.worker"),
        input=pickle.dumps((plan, work, drafting)),
        capture_output=True,
        check=False,
    )
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise EngineError(
            f"{plan.bundle}: the reference runtime stopped with status {done.returncode}: "
            f"{said[-LOG_CHARACTERS:]}"
        )
    result = pickle.loads(done.stdout)
    if isinstance(result, MtpExportError):
        raise result
    return result


def _by_prompt(samples: Mapping[Side, Sequence[SideRun]]) -> tuple[Acceptance, ...]:
    """What the reference runtime tells, of one round: greedy answers are the same in all."""
    of_side = samples.get(Side(REFERENCE, True))
    return of_side[0].acceptance if of_side else ()


def _measured(compared: Sequence[Ratio], drafts: Drafts | None, plan: BenchPlan) -> Speed | None:
    """MTP on by off in the stock engine; None where it was not run often enough to know the noise."""
    found = next((ratio for ratio in compared if ratio.name == ENGINE_GAIN), None)
    if found is None or drafts is None or plan.rounds < LEAST_ROUNDS or not found.median:
        return None
    return Speed.of_rounds(found.median, found.low, found.high, drafts)


def default_threads() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
