"""Holding SIGINT and SIGTERM back while something must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Holds signals back from the moment it is made until :meth:`release`, and again from :meth:`hold`.

    Only in the main thread, where Python handles signals, and only those that have a Python handler.
    """

    def __init__(self) -> None:
        self._held, self._pending = True, list[int]()
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in STOPS}
            self._before = {
                number: handler for number, handler in found.items() if callable(handler)
            }
            try:
                for number in self._before:
                    signal.signal(number, self._handle)
            except BaseException:  # by a signal that is not held back yet
                self.restore()
                raise

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            self._pending.append(number)
        else:
            self._before[signal.Signals(number)](number, frame)

    def release(self) -> None:
        """Let signals through again; one that came meanwhile comes now."""
        self._held = False
        while self._pending:
            signal.raise_signal(self._pending.pop())

    def hold(self) -> None:
        """Hold signals back from now on."""
        self._held = True

    def restore(self) -> None:
        """Put the former handlers back; signals that were held back are then delivered."""
        self._held = False  # first: should one come meanwhile, the other is not held for good
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.release()


@contextmanager
def held_back() -> Iterator[None]:
    """Hold signals that come during the block back until its end."""
    interrupts = Interrupts()
    try:
        yield
    finally:
        interrupts.restore()
