"""Changing the code of a template without touching its text, its comments or its string literals.

Just enough of Jinja's syntax for that; the template engines do the parsing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_STRING = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_BLOCK = re.compile(
    rf"\{{#.*?#\}}|\{{%(?:{_STRING}|.)*?%\}}|\{{\{{(?:{_STRING}|.)*?\}}\}}", re.DOTALL
)
_LITERAL = re.compile(f"({_STRING})", re.DOTALL)


def blocks(source: str) -> Iterator[re.Match[str]]:
    """Every block of code and every comment, where it stands."""
    return _BLOCK.finditer(source)


def change_blocks(source: str, change: Callable[[str], str]) -> str:
    """The source with ``change`` applied to every whole block of code, string literals included."""
    return _BLOCK.sub(lambda block: block[0] if block[0][1] == "#" else change(block[0]), source)


def change_code(source: str, change: Callable[[str], str]) -> str:
    """The source with ``change`` applied to every stretch of code outside string literals.

    Of ``Hi {{ name ~ '!' }}`` these are ``{{ name ~ `` and `` }}``.
    """

    def change_outside_strings(block: str) -> str:
        pieces = _LITERAL.split(block)  # code and literals in turn
        pieces[::2] = map(change, pieces[::2])
        return "".join(pieces)

    return change_blocks(source, change_outside_strings)


def without_strings(code: str) -> str:
    """The code with every string literal replaced by as many question marks."""
    return _LITERAL.sub(lambda literal: "?" * len(literal[0]), code)
