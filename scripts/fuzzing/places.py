"""Folders with sound files, one of which is replaced for an input and put back behind it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from fuzzing.target import Case

CHECKPOINTS = Path(__file__).resolve().parent.parent.parent / "checkpoints" / "tiny"
MEMORY_DISK = Path("/dev/shm")  # noqa: S108  files are written thousands of times a second


def scratch_folder() -> Path:
    """A new folder, in memory where that can be had; whoever asks for it removes it."""
    parent = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    return Path(tempfile.mkdtemp(prefix="mtp-export-fuzz-", dir=parent))


def in_folder(
    folder: Path, parts: Mapping[str, bytes], read: Callable[[Path], None]
) -> Callable[[Case], None]:
    """A reader of a folder that holds ``parts`` and, for the time of a case, that case's content.

    Each process writes all of them first: the one before may have been ended in the middle of a case.
    """
    writers: set[int] = set()

    def read_case(case: Case) -> None:
        if os.getpid() not in writers:
            writers.add(os.getpid())
            for name, content in parts.items():
                (folder / name).write_bytes(content)
        path = folder / case.part
        path.write_bytes(case.content)
        try:
            read(folder)
        finally:
            path.write_bytes(parts[case.part])

    return read_case
