"""Writing a large file so that it is either there and whole, or not there.

Everything is made in a scratch folder beside the destination, on the same disk, and the last step is
a rename. The folder goes away on success, error and interrupt; what a killed process left behind has
a name that says so, and the next run for the same output removes it.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: stale folders are then left for the user to remove
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"


def check_destination(output: Path, *, force: bool) -> None:
    """Refuse early what would fail late.

    Raises:
        OutputError: The output exists without ``force``, is a folder, or its folder is missing.
    """
    if output.is_dir():
        raise OutputError(f"{output}: expected a file name for the bundle, found a folder")
    if output.exists() and not force:
        raise OutputError(f"{output} exists already; give --force to replace it, or another name")
    parent = output.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"{output}: the folder {output.parent} does not exist; create it first")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{output}: the folder {output.parent} is not writable")


def check_free_space(output: Path, wanted: int) -> None:
    """Compare the bytes an export will need with those the disk has.

    Raises:
        OutputError: There are too few.
    """
    free = shutil.disk_usage(output.absolute().parent).free
    if free < wanted:
        raise OutputError(
            f"{output}: about {wanted / 1e9:.2f} GB are needed while exporting, and the disk has "
            f"{free / 1e9:.2f} GB free; make room or choose another disk"
        )


@contextmanager
def scratch_folder(output: Path) -> Iterator[Path]:
    """A folder beside ``output`` for intermediate files, removed however the block ends.

    Raises:
        OutputError: The disk filled up meanwhile.
    """
    parent, prefix = output.absolute().parent, f".{output.name}.partial-"
    _remove_stale(parent, prefix)
    try:
        with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
            folder = Path(name)
            with (folder / LOCK).open("w") as lock:
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"{output}: the disk filled up while writing; nothing was left behind: make room and "
                "run the export again"
            ) from error
        raise


def publish(finished: Path, output: Path) -> None:
    """Move a finished file to its destination in one step, after it has reached the disk."""
    with finished.open("rb") as stream:
        os.fsync(stream.fileno())
    finished.replace(output)


def _remove_stale(parent: Path, prefix: str) -> None:
    """Remove folders of runs that were killed; one that is still locked belongs to a live run."""
    for folder in parent.glob(f"{prefix}*"):
        if fcntl is None or not folder.is_dir():
            continue
        try:
            with (folder / LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # locked, or so new that its lock is not there yet
            continue
        shutil.rmtree(folder, ignore_errors=True)
