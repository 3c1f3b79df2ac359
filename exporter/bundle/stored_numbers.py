"""Whole numbers in the blocks of a manifest: sizes and counts, as large as a tensor's dimension can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST = 2**31 - 1
"""LiteRT's dimensions are signed 32-bit numbers."""

MOST_ENTRIES = 1024
"""Of a list of sizes; published models have some dozens of layers and a few prefills."""


def whole(value: object, what: str, *, least: int = 0, most: int = LARGEST) -> int:
    """A number within bounds.

    Raises:
        ValueError: It is something else; names it.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(
            f"{what}: expected a whole number from {least} to {most}, found {ascii(value)[:40]}"
        )
    return value


def wholes(block: Mapping[str, Any], key: str, *, least: int = 0) -> tuple[int, ...]:
    """A list of them.

    Raises:
        KeyError: There is none.
        ValueError: It is something else.
    """
    return tuple(whole(each, key, least=least) for each in entries(block, key))


def entries(block: Mapping[str, Any], key: str) -> list[Any]:
    """A list of not too many entries.

    Raises:
        KeyError: There is none.
        ValueError: It is something else.
    """
    found = block[key]
    if not isinstance(found, list | tuple) or len(found) > MOST_ENTRIES:
        raise ValueError(
            f"{key}: expected a list of at most {MOST_ENTRIES} entries, found {ascii(found)[:40]}"
        )
    return list(found)
