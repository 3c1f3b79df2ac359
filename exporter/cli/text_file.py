"""Writing a result as a text file that is whole or not there."""

from __future__ import annotations

from pathlib import Path

from exporter.errors import OutputError
from exporter.files.output import folder_beside


def write_text(path: Path, content: str, what: str) -> None:
    """Write a file, or replace it, or a link, in one step; what a link leads to stays as it is.

    Args:
        path: The file.
        content: What it is to hold, in UTF-8.
        what: What the file is, for the message.

    Raises:
        OutputError: It cannot be written; what was there is still there.
    """
    try:
        with folder_beside(path) as made:
            partial = made / "text"
            partial.write_text(content, encoding="utf-8")
            partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: the {what} cannot be written: {error.strerror}") from error
