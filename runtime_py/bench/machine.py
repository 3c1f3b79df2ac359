"""The machine a benchmark ran on: what makes its figures differ from another's."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

TELLING = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "amx_int8",
    "asimddp",
    "i8mm",
)
"""Instruction sets that decide how fast 8-bit products are, as Linux names them."""


@dataclass(frozen=True)
class Machine:
    """Processor, and the load average of the last minute before and after measuring."""

    processor: str
    architecture: str
    cores: int
    instructions: tuple[str, ...]
    load_before: float
    load_after: float

    def after_all(self) -> Machine:
        """This machine with its load now that everything has been measured."""
        return replace(self, load_after=_load())


def describe_machine() -> Machine:
    """This machine, now."""
    text = ""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    present = set(flags.group(1).split()) if flags else set()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    load = _load()
    return Machine(
        name.group(1) if name else platform.processor() or platform.machine(),
        platform.machine(),
        os.cpu_count() or 1,
        tuple(flag for flag in TELLING if flag in present),
        load,
        load,
    )


def _load() -> float:
    with suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return 0.0
