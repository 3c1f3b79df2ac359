"""Time of every operation of a signature, from LiteRT's own profiler.

XNNPACK reports the operations inside its partitions one by one.
Times are by the wall clock, so other jobs make some of them long: of every single operation the fastest
of all runs counts. One is shorter than a time slice, so on a busy machine, too, some run is undisturbed.

Source: LiteRT's ``litert/c/litert_profiler.h`` and ``litert_compiled_model.h``.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime_py.litert.compiled_model import CompileOptions
from runtime_py.litert.hardware import cpu_options
from speed.clocks import Call
from speed.litert import Edit, LitertFile, PreparedCall

OPERATOR, DELEGATE_OPERATOR = 1 << 1, 1 << 3  # LiteRtProfilerEventType
BRANCHING = "IF"
"""Not counted: what a branch does is reported by itself."""
PROFILING = CompileOptions(b"runtime_options_string", "enable_profiling = true\n")


class Event(ctypes.Structure):
    """LiteRT's ``ProfiledEventData``."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start", ctypes.c_uint64),
        ("microseconds", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("metadata", ctypes.c_uint64 * 2),
        ("source", ctypes.c_int),
    ]


@dataclass(frozen=True)
class Operation:
    """All operations of one kind in a run."""

    name: str
    delegated: bool
    count: int
    milliseconds: float
    """Their sum, each at its fastest."""


class OpProfiler:
    """A model in a file, compiled with LiteRT's profiler on, one thread.

    Args:
        path: The file.
        begin: Where the model begins in it, a multiple of the page size.
        nbytes: Its length.
        edit: Changes to make before it is compiled; the file stays as it is.

    Raises:
        EngineError: LiteRT refused a call.
    """

    def __init__(self, path: Path, begin: int, nbytes: int, edit: Edit | None = None) -> None:
        options = (cpu_options(threads=1), PROFILING)
        self._file = LitertFile(path, *options, begin=begin, nbytes=nbytes, edit=edit)
        self._call, self._profiler = self._file.environment.library.call, ctypes.c_void_p()
        profiler = ctypes.byref(self._profiler)
        self._call("LiteRtCompiledModelGetProfiler", self._file.model.compiled, profiler)

    def profile(
        self, signature: str, runs: int, prepare: Callable[[PreparedCall], Call] | None = None
    ) -> list[Operation]:
        """Operations by time, the longest first; the first run is not counted. ``prepare`` sets inputs."""
        prepared = self._file.call(signature)
        timed = prepared if prepare is None else prepare(prepared)
        timed()
        events = [self._events(timed) for _ in range(runs)]
        sums, counts = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
        for repeated in zip(*events, strict=True):
            kind = (repeated[0].tag.decode(), repeated[0].type == DELEGATE_OPERATOR)
            counts[kind] += 1
            sums[kind] += min(event.microseconds for event in repeated)
        found = [
            Operation(*kind, counts[kind], total / 1000)
            for kind, total in sums.items()
            if kind[0] != BRANCHING
        ]
        return sorted(found, key=lambda operation: -operation.milliseconds)

    def _events(self, timed: Call) -> list[Event]:
        """Operations of one run."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        timed()
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return [event for event in events if event.type in (OPERATOR, DELEGATE_OPERATOR)]
