"""SHA-256 of the files of both checkpoints, computed beside everything else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager

from exporter.checkpoints.checkpoint import hash_files
from exporter.checkpoints.pair import Pair

Hashes = dict[str, dict[str, str]]
"""SHA-256 of every file that was read, by role and file name."""


@contextmanager
def hashing(pair: Pair) -> Iterator[Future[Hashes]]:
    """Hash the sources in a thread; given up at once when the block is left early."""
    stopped = threading.Event()

    def go_on(count: int) -> None:
        if stopped.is_set():
            raise CancelledError

    def hash_sources() -> Hashes:
        return {
            role: hash_files(checkpoint.source_files(), go_on)
            for role, checkpoint in pair.checkpoints().items()
        }

    with ThreadPoolExecutor(max_workers=1) as hasher:
        try:
            yield hasher.submit(hash_sources)
        finally:
            stopped.set()
