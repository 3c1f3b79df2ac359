"""Progress on stderr: bars with bytes and remaining time, elapsed time where the length is unknown."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from tqdm import tqdm

from exporter.cli.terminal import fitted
from exporter.progress import Advance


class TerminalReporter:
    """Draws bars on a terminal; writes one line per finished stage elsewhere (a log, CI)."""

    def __init__(self) -> None:
        self.interactive = sys.stderr.isatty()

    def note(self, text: str) -> None:
        """One line of information."""
        click.echo(fitted(text, sys.stderr), err=True)

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        """Show a stage while the context is open, and how long it took."""
        started = time.monotonic()
        if not self.interactive:
            click.echo(f"{title} ...", err=True)
            yield lambda count: None
        elif total is None:
            with _ticking(title):
                yield lambda count: None
        else:
            with tqdm(desc=title, total=total, unit=unit, unit_scale=True, leave=False) as bar:
                yield bar.update
        click.echo(f"{title}: {time.monotonic() - started:.1f} s", err=True)


@contextmanager
def _ticking(title: str) -> Iterator[None]:
    """A line with elapsed seconds, kept up to date by a thread."""
    finished = threading.Event()
    with tqdm(desc=title, bar_format="{desc}: {elapsed}", leave=False) as line:

        def tick() -> None:
            while not finished.wait(0.5):
                line.refresh()

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            finished.set()
            ticker.join()
