"""A template's source cut into text, comments, code and the string literals within code.

Just enough of Jinja's syntax to change code without touching text; the template engines do the parsing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_STRING = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_BLOCK = re.compile(
    rf"\{{#.*?#\}}|\{{%(?:{_STRING}|.)*?%\}}|\{{\{{(?:{_STRING}|.)*?\}}\}}", re.DOTALL
)
_LITERAL = re.compile(_STRING, re.DOTALL)


class Kind(enum.Enum):
    """What a piece of a template is."""

    TEXT = "text"
    COMMENT = "comment"
    CODE = "code"
    STRING = "string"


@dataclass(frozen=True)
class Piece:
    """Consecutive characters of one kind."""

    kind: Kind
    text: str


def pieces(source: str) -> Iterator[Piece]:
    """Cut ``source``; the pieces put together are the source again.

    ``Hi {{ name ~ '!' }}`` gives text ``Hi ``, code ``{{ name ~ ``, string ``'!'``, code `` }}``.
    """
    end = 0
    for block in _BLOCK.finditer(source):
        yield from _piece(Kind.TEXT, source[end : block.start()])
        if block[0].startswith("{#"):
            yield Piece(Kind.COMMENT, block[0])
        else:
            yield from _code(block[0])
        end = block.end()
    yield from _piece(Kind.TEXT, source[end:])


def change_code(source: str, change: Callable[[str], str]) -> str:
    """The source with ``change`` applied to every stretch of code outside string literals."""
    return "".join(
        change(piece.text) if piece.kind is Kind.CODE else piece.text for piece in pieces(source)
    )


def change_blocks(source: str, change: Callable[[str], str]) -> str:
    """The source with ``change`` applied to every whole block of code, string literals included."""
    return _BLOCK.sub(lambda block: block[0] if block[0][1] == "#" else change(block[0]), source)


def without_strings(code: str) -> str:
    """The code with every string literal replaced by as many question marks."""
    return _LITERAL.sub(lambda literal: "?" * len(literal[0]), code)


def _code(block: str) -> Iterator[Piece]:
    end = 0
    for literal in _LITERAL.finditer(block):
        yield from _piece(Kind.CODE, block[end : literal.start()])
        yield Piece(Kind.STRING, literal[0])
        end = literal.end()
    yield from _piece(Kind.CODE, block[end:])


def _piece(kind: Kind, text: str) -> Iterator[Piece]:
    if text:
        yield Piece(kind, text)
