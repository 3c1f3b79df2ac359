"""Regular expressions that checkpoints and adapters have in their configurations.

Matching can take for ever, so patterns are tried in a process that can be given up before they are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from exporter.bounded_call import OutOfBoundsError, bounded_call
from exporter.errors import CheckpointError

T = TypeVar("T")

REPEATS = re.compile(r"[*+?{]")
"""What can make a pattern take for ever."""

NO_PATTERN = (re.error, OverflowError, RecursionError)
"""What compiling arbitrary text as a regular expression can raise."""

SECONDS, MEMORY = 5, 1 << 30


def in_time(what: str, where: str, text: str, match: Callable[..., T], *args: object) -> T:
    """What ``match`` returns; called in another process if ``text``, its patterns, can take for ever.

    Raises:
        CheckpointError: It does not end.
    """
    if not REPEATS.search(text):
        return match(*args)
    try:
        return bounded_call(SECONDS, MEMORY, match, *args)
    except OutOfBoundsError as error:
        raise CheckpointError(
            f"{where}: matching the modules' names with {what} {error}; write the modules' names instead of "
            "regular expressions"
        ) from error


def search_all(patterns: Sequence[str], names: Sequence[str]) -> None:
    """Look for every pattern in every name."""
    for pattern in patterns:
        for name in names:
            re.search(pattern, name)
