"""How stages tell that they advance. The library is silent; the command draws bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Told how many more bytes are done, of a checkpoint or of a file."""


class Reporter(Protocol):
    """Shown what an export is doing."""

    def stage(self, title: str, total_bytes: int | None) -> AbstractContextManager[Advance]:
        """A stage begins; it ends when the context does. ``total_bytes`` None: length unknown."""

    def note(self, text: str) -> None:
        """One line of information."""


class SilentReporter:
    """Shows nothing."""

    @contextmanager
    def stage(self, title: str, total_bytes: int | None) -> Iterator[Advance]:
        yield lambda count: None

    def note(self, text: str) -> None:
        return None
