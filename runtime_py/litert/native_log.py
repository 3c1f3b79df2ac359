"""Keeping LiteRT's chatter off the user's terminal, and its last words for an error message.

LiteRT writes to file descriptor 2, and to 1 where a GPU is looked for, and offers Python no switch.
While a block runs, both descriptors point to a temporary file. Other threads that write there in the
meantime are captured too, so keep the blocks short: loading, not running.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

logger = logging.getLogger(__name__)

LINES_SHOWN = 4
CAPTURED = (1, 2)


@dataclass
class NativeLog:
    """What was written to descriptors 1 and 2; filled when the block ends."""

    text: str = ""

    def last_errors(self) -> str:
        """The last error lines, ready to be appended to a message."""
        errors = [line for line in self.text.splitlines() if line.startswith(("ERROR", "└"))]
        return "".join(f"\n  | {line}" for line in errors[-LINES_SHOWN:])


@contextmanager
def captured_native_log() -> Iterator[NativeLog]:
    """Capture descriptors 1 and 2; their text goes to the debug log as well."""
    log = NativeLog()
    with tempfile.TemporaryFile() as file:
        _flush()
        saved = [os.dup(descriptor) for descriptor in CAPTURED]
        try:
            for descriptor in CAPTURED:
                os.dup2(file.fileno(), descriptor)
            yield log
        finally:
            _flush()
            for descriptor, copy in zip(CAPTURED, saved, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
            file.seek(0)
            log.text = file.read().decode(errors="replace")
            if log.text:
                logger.debug("%s", log.text.rstrip())


def _flush() -> None:
    """Write out what Python and the C library hold back, so that it goes where it belongs."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    ctypes.CDLL(None).fflush(None)
