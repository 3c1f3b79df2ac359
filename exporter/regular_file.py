"""Whether there is a file to read. Pipes, devices and links that lead nowhere are not taken for absent."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What there may be instead, by the file type in the mode."""

STDIN, DESCRIPTORS = Path("/dev/stdin"), Path("/dev/fd")
"""Names of what this process has open."""


class NotAFileError(OSError):
    """There is something that is no regular file. Its ``strerror`` says what was expected and found."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(errno.EINVAL, f"expected a file, found {found}", str(path))


def has_file(path: Path) -> bool:
    """Whether there is a file at ``path``, or one that a link leads to; False if there is nothing.

    Raises:
        NotAFileError: There is something else. Opening it may wait for ever.
        OSError: It cannot be told.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise NotAFileError(path, f"a link to {path.readlink()}, which is not there") from None
        return False
    except ValueError:  # a zero byte, which no name has
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAFileError(path, "a link that leads to itself") from None
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
    if not stat.S_ISREG(mode):
        raise NotAFileError(path, KINDS.get(stat.S_IFMT(mode), "something else"))
    return True


def require_text(path: Path) -> Path:
    """The path that was given for a text, if there is a file, or a pipe that this process has been handed.

    Such a pipe (``-``, or ``<(...)`` in a shell) is open already, and somebody writes to it.

    Raises:
        OSError: As for :func:`require_file`.
    """
    handed = path == STDIN or path.parent == DESCRIPTORS
    return path if handed else require_file(path)


def require_file(path: Path) -> Path:
    """The path, if there is a file.

    Raises:
        OSError: As for :func:`has_file`, or there is nothing.
    """
    if not has_file(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return path
