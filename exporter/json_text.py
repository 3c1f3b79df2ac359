"""JSON from files that strangers may have written, taken within bounds.

Python's reader takes more than what can be worked with afterwards: nests of any depth that it has room for,
halves of surrogate pairs, which are no text that can be written anywhere, and objects with a key twice. It
also has several ways to fail. Here there is one error. NaN and Infinity are read as floats, as other tools
write them; whoever uses a number looks whether it is finite.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

DEEPEST = 100
"""Levels of objects and lists within each other; Hugging Face's files have ten at most."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape that may be half of a pair."""


class JsonError(ValueError):
    """A text is not JSON, or not within bounds; the message completes "expected JSON, found"."""


def parse_json(text: bytes, *, unique_keys: bool = False) -> Any:
    """The value that a JSON text stands for.

    Args:
        text: In UTF-8.
        unique_keys: Refuse an object that has a key twice, of which the last would count.

    Raises:
        JsonError: It is something else, or out of bounds.
    """
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_with_unique_keys if unique_keys else None
        )
    except JsonError:
        raise
    except RecursionError as error:
        raise JsonError(f"more than {DEEPEST} levels of nesting") from error
    except ValueError as error:  # no JSON, no UTF-8, or a number of too many digits
        raise JsonError(f"something else ({error})") from error
    _check(value, may_be_halved=_SURROGATE.search(text) is not None)
    return value


def _check(value: Any, *, may_be_halved: bool) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        if may_be_halved:
            _check_texts(level)
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _in(outer)]
        if not level:
            return
    raise JsonError(f"more than {DEEPEST} levels of nesting")


def _in(outer: dict[str, Any] | list[Any]) -> Any:
    return outer.values() if isinstance(outer, dict) else outer


def _check_texts(level: list[Any]) -> None:
    for value in level:
        for text in value if isinstance(value, dict) else [value]:
            if isinstance(text, str):
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    raise JsonError(f"half of a surrogate pair in {ascii(text)[:80]}") from error


def _with_unique_keys(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise JsonError(f"the key {twice!r} twice in one object")
    return found
