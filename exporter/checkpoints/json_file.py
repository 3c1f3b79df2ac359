"""JSON objects from files that users give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exporter.errors import CheckpointError
from exporter.json_text import JsonError, parse_json


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: The file is not JSON or not an object.
    """
    try:
        value = parse_json(path.read_bytes())
    except JsonError as error:
        raise CheckpointError(f"{path}: expected JSON, found {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value
