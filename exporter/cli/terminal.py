"""What goes to stderr while a command runs: our own words, and not those of libraries.

LiteRT, TensorFlow, oneDNN, absl and torch write there while they are loaded, while they run and while the
process ends. So descriptor 2 points to a file that nobody sees, until the very end, and ``sys.stderr`` to
where descriptor 2 did. Of what is in the file the last errors go with an exception. A crash of native code is
told by ``faulthandler``; ``--verbose`` leaves everything as it is.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from typing import TextIO

import click

STDERR = 2
OURS = ("exporter", "quantize", "runtime_py")
SEEN = 1 << 16
"""Bytes at the end of what libraries said that are searched for errors."""


def colours() -> bool:
    """Whether colours are wanted where there is a terminal (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def fitted(text: str, stream: TextIO) -> str:
    """The text, its long lines broken between words if the stream is a terminal."""
    if not stream.isatty():
        return text
    import shutil

    width = shutil.get_terminal_size().columns
    lines = (
        line if len(line) <= width else click.wrap_text(line, width) for line in text.split("\n")
    )
    return "\n".join(lines)


def note(text: str) -> None:
    """Something beside the result, on stderr."""
    click.secho(fitted(text, sys.stderr), dim=True, err=True)


@contextmanager
def speaking(*, quiet: bool, verbose: bool) -> Iterator[None]:
    """Settle what reaches stderr during a command, and natively until the process ends.

    Args:
        quiet: Nothing does; errors are told afterwards.
        verbose: Everything does: logs of ours and of libraries, native ones among them.
    """
    hidden = None if verbose else _hide_native_words()
    with ExitStack() as stack:
        stack.enter_context(_detailed_logs() if verbose else _silent_logs())
        if quiet:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stderr(nowhere))
        try:
            yield
        except Exception as error:  # whatever it is, it goes on, with what libraries said of it
            if hidden is not None and (said := _last_errors(hidden)):
                error.add_note(said)
            raise


def _hide_native_words() -> int | None:
    """The descriptor of what hides them; None where stderr is no descriptor of this process."""
    try:
        if sys.stderr.fileno() != STDERR:
            return None
    except (AttributeError, OSError, ValueError):  # closed from the start, or another object
        return None
    import tempfile

    sys.stderr.flush()
    terminal = os.fdopen(os.dup(STDERR), "w", 1, sys.stderr.encoding, sys.stderr.errors)
    with tempfile.TemporaryFile(buffering=0) as file:
        os.dup2(file.fileno(), STDERR)
    sys.stderr = terminal
    faulthandler.enable(terminal, all_threads=False)
    return STDERR


@contextmanager
def _silent_logs() -> Iterator[None]:
    """No log below errors: that of libraries tells nothing that a user can act on."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        logging.disable(before)


@contextmanager
def _detailed_logs() -> Iterator[None]:
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.root.addHandler(handler)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
        for name in OURS:
            logging.getLogger(name).setLevel(logging.NOTSET)


def _last_errors(descriptor: int) -> str:
    """What libraries said last that they call an error, ready to follow a message."""
    from runtime_py.litert.native_log import NativeLog

    length = os.fstat(descriptor).st_size
    content = os.pread(descriptor, SEEN, max(0, length - SEEN))
    return NativeLog(content.decode(errors="replace")).last_errors().lstrip("\n")
