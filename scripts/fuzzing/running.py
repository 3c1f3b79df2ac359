"""Inputs run through a target in child processes: a crash, a hang and too much memory are findings, too.

A child is forked for a batch of inputs; before each it notes the input's number where its parent can see it.
Whatever ends the child, or keeps it at one input for too long, is that input's finding, and the next child
begins behind it.
"""

from __future__ import annotations

import mmap
import os
import resource
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

from fuzzing.target import Case, Target, outcome

BATCH = 4000
"""Inputs of a child. A fresh one now and then keeps what readers remember from growing."""

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Finding:
    """An input that did something else than being read or refused."""

    what: str
    """Kind and place: one fault has one, however many inputs show it."""
    number: int
    case: Case


@dataclass
class Result:
    """What came of the inputs of a target so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return sum(self.outcomes.values())


def fuzz(target: Target, seed: int, *, first: int, count: int, seconds: float) -> Iterator[Result]:
    """The result after each batch; ends after ``count`` inputs or ``seconds``, whichever comes first."""
    result, began, at, end = Result(), time.monotonic(), first, first + count
    while at < end and time.monotonic() - began < seconds:
        at = _batch(target, seed, at, min(end, at + BATCH), result)
        result.seconds = time.monotonic() - began
        yield result


def _batch(target: Target, seed: int, first: int, end: int, result: Result) -> int:
    """Run a child for the inputs from ``first`` to ``end``; returns the number to go on with."""
    context, place = get_context("fork"), mmap.mmap(-1, 8)
    receiving, sending = context.Pipe(duplex=False)
    place[:] = struct.pack("<q", first)
    sys.stdout.flush()
    child = context.Process(target=_run, args=(target, seed, range(first, end), place, sending))
    child.start()
    sending.close()
    died = _watch(child, receiving, place, result, target.seconds)
    (at,) = struct.unpack("<q", place[:])
    if died is None:
        return end
    what = f"{died} in {target.name}"
    if target.bounded:
        result.outcomes[died] += 1
    else:
        case = target.case(seed, at)
        result.outcomes["FOUND"] += 1
        result.findings.setdefault(f"{what} {case.part}", Finding(f"{what} {case.part}", at, case))
    return int(at) + 1


def _watch(
    process: ForkProcess,
    receiving: Connection,
    place: mmap.mmap,
    result: Result,
    seconds: float,
) -> str | None:
    """Take what the child sends until it ends; how it died, or None if it did all its inputs."""
    seen, since = place[:], time.monotonic()
    while True:
        try:
            if receiving.poll(1.0):
                kind, finding = receiving.recv()
                if kind == "done":
                    result.outcomes.update(finding)
                    process.join()
                    return None
                if kind == "outcomes":
                    result.outcomes.update(finding)
                else:
                    result.findings.setdefault(finding.what, finding)
                continue
        except EOFError:
            process.join()
            return f"end with status {process.exitcode}"
        if place[:] != seen:
            seen, since = place[:], time.monotonic()
        elif time.monotonic() - since > seconds:
            process.kill()
            process.join()
            return f"more than {seconds:g} s"


REPORTED = 64
"""Inputs between reports: so many at most are not counted when a child dies."""


def _run(target: Target, seed: int, numbers: range, place: mmap.mmap, sending: Connection) -> None:
    """The child: read each input and send what is found."""
    _limit_memory(target.memory)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    outcomes: Counter[str] = Counter()
    for number in numbers:
        place[:] = struct.pack("<q", number)
        try:
            case = target.case(seed, number)
        except MemoryError:
            continue
        try:
            outcomes[outcome(target, case)] += 1
        except Exception as error:  # what is no refusal is what is looked for
            if target.bounded and isinstance(error, MemoryError):
                outcomes["MemoryError"] += 1
                continue
            outcomes["FOUND"] += 1
            sending.send(("finding", Finding(place_of(error), number, case)))
        if number % REPORTED == 0:
            sending.send(("outcomes", outcomes))
            outcomes = Counter()
    sending.send(("done", outcomes))
    os._exit(0)


def place_of(error: BaseException) -> str:
    """The kind of an error and the deepest line of ours that it came through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(ROOT) and "/scripts/" not in frame.filename
    ]
    at = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno} {at.name}"


def _limit_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
