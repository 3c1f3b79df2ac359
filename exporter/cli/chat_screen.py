"""The two ends of a chat that a person sees: lines that are typed or piped in, answers as they come."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import click

from exporter.cli.terminal import fitted
from exporter.errors import MtpExportError
from runtime_py.loop.rounds import Source
from runtime_py.reply import Piece

COLOURS = {Source.DRAFTER: "green", Source.LOOKUP: "cyan"}
"""Of accepted drafts, by where they were from."""

PROMPT, MORE = "> ", "… "

DROPPED = "\0"
"""A line that nobody types."""


class _LineDroppedError(Exception):
    """A Ctrl-C while a line was typed."""


class Screen:
    """A terminal, or a pipe in its place: then there is neither prompt nor colour, and Ctrl-C ends all."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()

    def lines(self) -> Iterator[str]:
        """What is said, without the empty lines; a line that ends in a backslash goes on in the next."""
        said, line = "", self._line(PROMPT)
        while line is not None:
            if line.endswith("\\"):
                said += line[:-1] + "\n"
            else:
                if (whole := said + line).strip() and line != DROPPED:
                    yield whole
                said = ""
            line = self._line(MORE if said else PROMPT)
        if said.strip():
            yield said

    def _line(self, prompt: str) -> str | None:
        """A line, :data:`DROPPED` or, at the end, None.

        Raises:
            MtpExportError: It is not text.
        """
        try:
            line = self._typed(prompt) if self.interactive else sys.stdin.readline()
            line.encode()
        except EOFError:
            click.echo()
            return None
        except _LineDroppedError:
            click.echo()
            return DROPPED
        except UnicodeError as error:
            raise MtpExportError(f"stdin: expected text in UTF-8 ({error})") from error
        return line.rstrip("\r\n") if line else None

    def _typed(self, prompt: str) -> str:
        with suppress(ImportError):
            importlib.import_module("readline")  # editing and history, by its mere import
        with _on_interrupt(_drop):
            return input(prompt) + "\n"

    def show(self, piece: Piece) -> None:
        """A piece of an answer."""
        if not piece.text:
            return
        colour = COLOURS[piece.source] if piece.source else None
        click.echo(click.style(piece.text, fg=colour) if colour else piece.text, nl=False)

    def tell(self, text: str, colour: str | None = None) -> None:
        """Say what is no answer. A person is told on stdout, as --quiet silences stderr."""
        stream = sys.stdout if self.interactive else sys.stderr
        click.secho(fitted(text, stream), fg=colour, dim=colour is None, file=stream)

    @contextmanager
    def answering(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Ctrl-C cancels, once; a second one ends the command."""
        if not self.interactive:
            yield
            return

        def cancel_once(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            cancel()

        with _on_interrupt(cancel_once):
            yield


def _drop(number: int, frame: FrameType | None) -> None:
    raise _LineDroppedError


@contextmanager
def _on_interrupt(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
