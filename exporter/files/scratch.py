"""Temporary files of a command: where they are, and how those of a killed one are found and removed.

A command has one folder for them, below the system's folder for such files: what it and its child processes
put there by the usual means is in it. Files that must be on an output's disk are in folders beside the
output; the command's folder tells where. Each of these folders has a file that its owner has locked, so a
later command knows whether the owner lives.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from exporter.files.interrupts import Interrupts

try:
    import fcntl
except ImportError:  # Windows: stale folders are then left for the user to remove
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"

ELSEWHERE = "elsewhere"
"""In a command's folder, the file that tells of folders beside outputs: a JSON array of the parent and the
beginning of the name, one a line."""

COMMAND_PREFIX = "mtp-export-run-"
"""What the name of a command's folder begins with."""

BESIDE_MARK = ".partial-"
"""What the beginning of the name of a folder beside an output ends with."""

_BESIDE = re.compile(rf"\..*{re.escape(BESIDE_MARK)}", re.DOTALL)

VARIABLE = "TMPDIR"
"""The environment variable that says where temporary files go."""

YOUNG_SECONDS = 60
"""A folder without a lock is left alone so long: its owner may be about to make one."""


@contextmanager
def command_scratch() -> Iterator[None]:
    """Have temporary files of this process and its children in a folder of their own, removed afterwards.

    What killed commands left is removed first. Where there can be no such folder, temporary files are where
    they would be otherwise, and whoever needs them says so.
    """
    if (base := _base()) is None:
        yield
        return
    _sweep(base)
    before = os.environ.get(VARIABLE)
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(locked_folder(base, COMMAND_PREFIX))
        except OSError:  # a full disk, say
            folder = None
        if folder is not None:
            os.environ[VARIABLE] = str(folder)
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(VARIABLE, None)
            else:
                os.environ[VARIABLE] = before


def _base() -> Path | None:
    """The system's folder for temporary files, found anew: ``tempfile.gettempdir`` would remember it."""
    named = (os.environ.get(name) for name in (VARIABLE, "TEMP", "TMP"))
    folders = (Path(name) for name in (*named, "/tmp", "/var/tmp") if name)  # noqa: S108
    return next((f for f in folders if f.is_dir() and os.access(f, os.W_OK | os.X_OK)), None)


@contextmanager
def locked_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder, locked for as long as the block lasts, and removed however it ends.

    Raises:
        OSError: It cannot be made.
    """
    while True:
        with _temporary_folder(parent, prefix) as folder, (folder / LOCK).open("w") as lock:
            # Before it is locked another run may take it for a stale one.
            if take_lock(lock):
                yield folder
                return


def take_lock(lock: IO[str]) -> bool:
    """Lock an open file until it is closed; False if another process has it, or has removed it by now.

    Where there are no locks it is taken for locked.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks, where nothing is taken for stale either
        return True
    return os.fstat(lock.fileno()).st_nlink > 0


@contextmanager
def _temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Like ``tempfile.TemporaryDirectory``, but an interrupt while it is made or removed does no harm."""
    interrupts = Interrupts()
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            interrupts.release()
            yield folder
        finally:
            try:
                interrupts.hold()
            finally:  # reached even if that was interrupted
                interrupts.hold()
                _remove(folder)
    finally:
        interrupts.restore()


def _remove(folder: Path) -> None:
    """Remove a folder; its lock goes last, so that a next run finds what a kill in between leaves."""
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != LOCK:
                entry.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def tell_of(parent: Path, prefix: str) -> None:
    """Note, before they are made, that folders of such names beside an output belong to this command."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if folder.name.startswith(COMMAND_PREFIX):
        with suppress(OSError), (folder / ELSEWHERE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([str(parent), prefix]) + "\n")


def remove_stale(parent: Path, prefix: str) -> None:
    """Remove folders of runs that were killed; one that is still locked belongs to a live run."""
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
        if fcntl is not None and _is_ours(folder):
            try:
                with (folder / LOCK).open("r+") as lock:  # NFS locks only what may be written
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove_told_of(folder)
                    _remove(folder)  # locked, so that a new run sees it go
            except FileNotFoundError:
                _remove_empty(folder)
            except OSError:  # it is locked, or cannot be
                continue


def _sweep(base: Path) -> None:
    with suppress(OSError):
        remove_stale(base, COMMAND_PREFIX)


def _is_ours(folder: Path) -> bool:
    """Whether it is a real folder of this user: anyone can make one in the system's temporary folder."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _remove_told_of(folder: Path) -> None:
    """Remove the folders beside outputs that a killed command told of."""
    with suppress(OSError, ValueError):
        for line in (folder / ELSEWHERE).read_text(encoding="utf-8").splitlines():
            match json.loads(line):
                case [str(parent), str(prefix)] if _BESIDE.fullmatch(prefix):
                    remove_stale(Path(parent), prefix)


def _remove_empty(folder: Path) -> None:
    """Remove a folder whose owner was killed before it had locked it."""
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime > YOUNG_SECONDS:
            folder.rmdir()
