"""How stages tell that they advance. The library is silent; the command draws bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Told how many more bytes are done, of a checkpoint or of a file, or how many of what a stage counts."""


class Reporter(Protocol):
    """Shown what an export is doing."""

    def stage(
        self, title: str, total: int | None, unit: str = "B"
    ) -> AbstractContextManager[Advance]:
        """A stage begins; it ends when the context does.

        Args:
            title: What is done.
            total: How many bytes, or ``unit``; None where that is not known.
            unit: What is counted.
        """

    def note(self, text: str) -> None:
        """One line of information."""


class SilentReporter:
    """Shows nothing."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        yield lambda count: None

    def note(self, text: str) -> None:
        return None
