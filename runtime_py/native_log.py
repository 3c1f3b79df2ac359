"""Keeping LiteRT's chatter off the user's terminal, and its last words for an error message.

LiteRT writes to file descriptor 2 and offers Python no switch. While a block runs, the descriptor
points to a temporary file. Other threads that write to stderr in the meantime are captured too, so
keep the blocks short: loading, not running.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

logger = logging.getLogger(__name__)

LINES_SHOWN = 4


@dataclass
class NativeLog:
    """What was written to descriptor 2; filled when the block ends."""

    text: str = ""

    def last_errors(self) -> str:
        """The last error lines, ready to be appended to a message."""
        errors = [line for line in self.text.splitlines() if line.startswith(("ERROR", "└"))]
        return "".join(f"\n  | {line}" for line in errors[-LINES_SHOWN:])


@contextmanager
def captured_native_log() -> Iterator[NativeLog]:
    """Capture descriptor 2; its text goes to the debug log as well."""
    log = NativeLog()
    with tempfile.TemporaryFile() as file:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        saved = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield log
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            log.text = file.read().decode(errors="replace")
            logger.debug("%s", log.text)


def silence_native_exit() -> None:
    """Drop what LiteRT's destructors say when the process ends; for commands, not for libraries.

    Handlers run in reverse order, so this one, if it is registered early, is among the last.
    """

    def silence() -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    atexit.register(silence)
