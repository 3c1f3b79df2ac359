"""Writing a result as a text file that is whole or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from exporter.errors import OutputError


def write_text(path: Path, content: str, what: str) -> None:
    """Write a file, or replace it in one step; a link stays one.

    Args:
        path: The file.
        content: What it is to hold, in UTF-8.
        what: What the file is, for the message.

    Raises:
        OutputError: It cannot be written; what was there is still there.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".mtp-export-{os.getpid()}.partial")
    try:
        partial.write_text(content, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise OutputError(f"{path}: the {what} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # it has been renamed, or could not be made
            partial.unlink()
