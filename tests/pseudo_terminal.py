"""The command in a terminal of its own, as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.command import COMMAND

PATIENCE = 60  # seconds
TRIES = 12

SIZE = ("COLUMNS", "LINES")
"""Variables that count more than the terminal's own size."""


class PseudoTerminal:
    """What is typed into it, and what it shows."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor, self._process = descriptor, process
        self._shown = ""  # and not asked for yet

    def until(self, text: str, patience: float = PATIENCE) -> str:
        """What it shows up to the text, which must come."""
        deadline = time.monotonic() + patience
        while text not in self._shown:
            piece = self._read(deadline)
            assert piece, f"{text!r} did not come: {self._shown!r}"
            self._shown += piece
        before, found, self._shown = self._shown.partition(text)
        return before + found

    def type(self, text: str) -> None:
        """Keys, among them Ctrl-C (3) and Ctrl-D (4)."""
        os.write(self._descriptor, text.encode())

    def interrupt_until(self, text: str) -> str:
        """Ctrl-C, again where nothing comes of it; what it then shows up to the text.

        Python notices a signal while readline waits for a key, but not while readline takes one.
        """
        for _ in range(TRIES):
            self.type("\x03")
            with suppress(AssertionError):
                return self.until(text, PATIENCE / TRIES)
        raise AssertionError(f"{text!r} did not come: {self._shown!r}")

    def children(self) -> list[int]:
        """Processes that the command has started."""
        process = self._process.pid
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))

    def end(self) -> tuple[str, int]:
        """What it shows until the command ends by itself, and the exit code."""
        shown, self._shown = self._shown, ""
        deadline = time.monotonic() + PATIENCE
        while piece := self._read(deadline):
            shown += piece
        return shown, self._process.wait(PATIENCE)

    def _read(self, deadline: float) -> str:
        """The next bytes; nothing where there will be none."""
        waiting = max(0.0, deadline - time.monotonic())
        if not select.select([self._descriptor], [], [], waiting)[0]:
            return ""
        try:
            return os.read(self._descriptor, 4096).decode(errors="replace")
        except OSError:  # what Linux says once the other end is closed
            return ""


@contextmanager
def in_terminal(
    *arguments: str, columns: int = 80, environment: Mapping[str, str] | None = None
) -> Iterator[PseudoTerminal]:
    """Run the command in a terminal that is so wide."""
    own, other = pty.openpty()
    fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in SIZE}
    variables = {**inherited, "TERM": "xterm-256color", **(environment or {})}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=other,
        stdout=other,
        stderr=other,
        env=variables,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(other)
    try:
        yield PseudoTerminal(own, process)
    finally:
        process.kill()
        process.wait()
        os.close(own)
