"""Files that users give, and JSON objects in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exporter.errors import CheckpointError
from exporter.json_text import JsonError, parse_json
from exporter.regular_file import NotAFileError, has_file


def is_there(path: Path) -> bool:
    """Whether there is such a file.

    Raises:
        CheckpointError: There is something that is no file.
    """
    try:
        return has_file(path)
    except NotAFileError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error


def content_of(path: Path) -> bytes:
    """What is in a file.

    Raises:
        CheckpointError: There is none, or it cannot be read.
    """
    if not is_there(path):
        raise CheckpointError(f"{path}: expected a file, found none")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: the file cannot be read: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: The file is not JSON or not an object.
    """
    try:
        value = parse_json(content_of(path))
    except JsonError as error:
        raise CheckpointError(f"{path}: expected JSON, found {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value
