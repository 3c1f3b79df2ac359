"""Peak memory of this process's children, sampled from outside, so that any runtime can be measured.

Reads ``/proc``; elsewhere than on Linux nothing is measured. Resident memory counts the pages of mapped
files, which the system can drop when it needs them; anonymous memory is what it cannot.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.02  # seconds
KIB = 1024

PEAK_RESIDENT = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
ANONYMOUS = re.compile(r"^RssAnon:\s+(\d+) kB", re.MULTILINE)


@dataclass
class Memory:
    """Peaks in bytes of the largest child; 0 where they cannot be measured."""

    resident: int = 0
    anonymous: int = 0

    def see(self, status: str) -> None:
        """Take in one ``/proc/<pid>/status``."""
        self.resident = max(self.resident, _bytes(PEAK_RESIDENT, status))
        self.anonymous = max(self.anonymous, _bytes(ANONYMOUS, status))


def _bytes(field: re.Pattern[str], status: str) -> int:
    found = field.search(status)
    return int(found.group(1)) * KIB if found else 0


@contextmanager
def children_watched() -> Iterator[Memory]:
    """Watch the children that this process has while the block runs.

    Yields:
        The peaks so far.
    """
    memory, finished = Memory(), threading.Event()

    def watch() -> None:
        while not finished.wait(INTERVAL):
            for status in _children():
                memory.see(status)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        finished.set()
        watcher.join()


def _children() -> Iterator[str]:
    """The status of every child, by any thread."""
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in listing.read_text().split():
                with suppress(OSError):
                    yield (Path("/proc") / pid / "status").read_text()
