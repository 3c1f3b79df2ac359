"""Comparing calls on a machine that does other things, too.

Sides take turns call by call in one process, so what slows the machine slows all of them. The clock is
the CPU time of the whole process: it does not count the time other jobs have the cores. With one
thread it is the time the call would take on an idle core, apart from caches and memory that others use;
with more it adds the threads up, so only ratios of equally parallel work mean anything.

What turns do not even out is where a model's weights lie in memory: of the same E2B target opened twice
the second was 7 to 10 % faster here. Smaller differences need a second run with the sides opened the
other way round.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

WARM_UP = 3
"""Calls of each side that are not counted: LiteRT allocates in the first ones."""

Call = Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU time of one call (median and quartiles), and of the wall clock (median)."""

    cpu: float
    low: float
    high: float
    wall: float
    calls: int


def alternate(sides: Mapping[str, Call], calls: int) -> dict[str, Cost]:
    """Measure every side ``calls`` times (at least 2), one call of each in turn."""
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    wall: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(WARM_UP + calls):
        for name, call in sides.items():
            begun, cpu_begun = time.perf_counter(), time.process_time()
            call()
            spent, passed = time.process_time() - cpu_begun, time.perf_counter() - begun
            if round_number >= WARM_UP:
                cpu[name].append(spent)
                wall[name].append(passed)
    return {name: _cost(cpu[name], wall[name]) for name in sides}


def _cost(cpu: list[float], wall: list[float]) -> Cost:
    low, middle, high = quantiles(cpu, n=4, method="inclusive")
    return Cost(middle, low, high, median(wall), len(cpu))


def load() -> str:
    """The load average of the last minute, for the record."""
    return f"load average {os.getloadavg()[0]:.1f}"
