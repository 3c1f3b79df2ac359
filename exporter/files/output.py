"""Writing a large file so that it is either there and whole, or not there.

Everything is made in a scratch folder beside the destination, on the same disk, and the last step is
a rename. The folder is removed on success, error and interrupt; one that a killed process left behind is
removed by the next run for the same output, or by the next command (``exporter.files.scratch``). A link is
replaced like a file: what it leads to stays as it is.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exporter.errors import OutputError
from exporter.files.scratch import BESIDE_MARK, locked_folder, remove_stale, tell_of

EXISTS = "{} exists already; give --force to replace it, or another name"

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Where a disk, a quota or the largest file allowed ends."""

NAME_KEPT = 100
"""Bytes of the output's name that the scratch folder's name repeats; names have limits."""


def check_destination(output: Path, *, force: bool) -> None:
    """Refuse early what would fail late.

    Raises:
        OutputError: The output exists without ``force``, is a folder, or its folder is missing.
    """
    there = _mode(output)
    if output.is_dir():
        raise OutputError(f"{output}: expected the name of a file, found a folder")
    if output.exists() and not output.is_file():
        raise OutputError(f"{output}: expected a regular file or none, found a device or a pipe")
    if there is not None and not force:
        raise OutputError(EXISTS.format(output))
    _check_parent(output)


def check_folder_destination(output: Path, mark: str, *, force: bool) -> None:
    """Check that a folder can be made or replaced; one that is replaced must hold a file called ``mark``.

    Raises:
        OutputError: The output exists without ``force``, is not such a folder, or its parent is missing.
    """
    there = _mode(output)
    if there is not None and not stat.S_ISLNK(there) and not (output / mark).is_file():
        raise OutputError(
            f"{output}: expected a folder with a {mark} to replace, or nothing; choose another name"
        )
    if there is not None and not force:
        raise OutputError(EXISTS.format(output))
    _check_parent(output)


def _mode(output: Path) -> int | None:
    """The mode of what has this name, a link itself included; None if nothing has it."""
    try:
        return output.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror}") from error


def _check_parent(output: Path) -> None:
    parent = output.absolute().parent
    if not parent.exists():
        raise OutputError(f"{output}: the folder {output.parent} does not exist; create it first")
    if not parent.is_dir():
        raise OutputError(f"{output}: {output.parent} is no folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{output}: the folder {output.parent} is not writable")


def check_free_space(output: Path, wanted: int, doing: str = "exporting") -> None:
    """Compare the bytes that what is being done will need with those the disk has.

    Raises:
        OutputError: There are too few.
    """
    free = shutil.disk_usage(output.absolute().parent).free
    if free < wanted:
        raise OutputError(
            f"{output}: about {wanted / 1e9:.2f} GB are needed while {doing}, and the disk has "
            f"{free / 1e9:.2f} GB free; make room or choose another disk"
        )


@contextmanager
def scratch_folder(output: Path) -> Iterator[Path]:
    """A folder beside ``output`` for intermediate files, removed however the block ends.

    Raises:
        OutputError: The disk filled up meanwhile.
    """
    try:
        with folder_beside(output) as folder:
            yield folder
    except OSError as error:
        if (
            error.errno == errno.EPIPE
        ):  # whoever read what is printed has gone: nothing of the output's
            raise
        if error.errno in FULL:
            raise OutputError(
                f"{output}: the disk filled up while writing; nothing was left behind: make room and "
                "try again"
            ) from error
        raise OutputError(
            f"{output}: reading or writing failed ({error.strerror or error}"
            f"{f': {error.filename}' if error.filename else ''}); nothing was left behind"
        ) from error


@contextmanager
def folder_beside(output: Path) -> Iterator[Path]:
    """Such a folder, without a word about what goes wrong.

    Raises:
        OSError: It cannot be made.
    """
    parent, prefix = output.absolute().parent, _prefix(output)
    remove_stale(parent, prefix)
    tell_of(parent, prefix)
    with locked_folder(parent, prefix) as folder:
        yield folder


def _prefix(output: Path) -> str:
    """What the names of scratch folders of this output begin with."""
    kept = os.fsencode(output.name)[:NAME_KEPT].decode(errors="ignore")
    return f".{kept}{BESIDE_MARK}"


def publish(finished: Path, output: Path, *, force: bool) -> None:
    """Move a finished file to its destination in one step, after its bytes have reached the disk.

    Raises:
        OutputError: Without ``force``: another process has made the output in the meantime.
    """
    _sync(finished)
    if force:
        finished.replace(output)
    else:
        _move_to_free_name(finished, output)
    _sync_names(output.absolute().parent)


def _move_to_free_name(finished: Path, output: Path) -> None:
    try:
        output.hardlink_to(finished)  # unlike a rename, refuses to replace
    except FileExistsError as error:
        raise OutputError(EXISTS.format(output)) from error
    except OSError:  # a file system without hard links
        check_destination(output, force=False)
        finished.replace(output)


def publish_folder(finished: Path, output: Path, mark: str, *, force: bool) -> None:
    """Move a finished folder to its destination. A folder it replaces is removed later.

    Raises:
        OutputError: Without ``force``: another process has made the output in the meantime.
    """
    for file in finished.iterdir():
        _sync(file)
    _sync_names(finished)
    check_folder_destination(output, mark, force=force)
    replaced = finished.with_name("replaced")
    try:
        if _mode(output) is not None:
            output.rename(replaced)
        finished.rename(output)
    except BaseException:  # an interrupt, too: one of the two must be there
        if _mode(replaced) is not None and _mode(output) is None:
            replaced.rename(output)
        raise
    _sync_names(output.absolute().parent)


def _sync(file: Path) -> None:
    """Wait until the bytes of a file have reached the disk."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_names(folder: Path) -> None:
    """Wait until a folder's names have reached the disk, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
