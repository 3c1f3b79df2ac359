"""The text that recipes are measured on, cut into passages that each fit the cache.

Knows text and tokens; a passage begins with the start token, as a conversation does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.errors import MtpExportError
from exporter.regular_file import require_text
from runtime_py.chat.tokenizer import Tokenizer

LEAST = 4
"""Passages below which an error bar means nothing."""


class TextFileError(MtpExportError):
    """A text file cannot be read, or is too short to measure anything on."""


@dataclass(frozen=True)
class PassagePlan:
    """How much of a text is used, and how.

    Each passage has ``length`` tokens. The first ``prompt`` of them are also continued by up to
    ``new`` tokens, to see how many drafts are accepted.
    """

    passages: int = 32
    length: int = 192
    prompt: int = 64
    new: int = 64

    @property
    def longest(self) -> int:
        """Cache slots that one passage or continuation fills."""
        return max(self.length, self.prompt + self.new)


def read_text_file(file: Path) -> str:
    """The text of a file.

    Raises:
        TextFileError: The file is missing or not UTF-8 text.
    """
    try:
        return require_text(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TextFileError(f"{file}: expected a text file in UTF-8 ({error})") from error


def cut(text: str, tokenizer: Tokenizer, plan: PassagePlan) -> tuple[tuple[int, ...], ...]:
    """Passages of equal length, evenly spread over the text.

    Raises:
        TextFileError: The text is too short for four of them.
    """
    start = [] if tokenizer.start_token is None else [tokenizer.start_token]
    tokens, body = tokenizer.encode(text), plan.length - len(start)
    whole = len(tokens) // body
    if whole < LEAST:
        raise TextFileError(
            f"the text has {len(tokens)} tokens; measuring takes {LEAST} passages of {body} at least: "
            "give a longer text, or a smaller --passage-length"
        )
    count = min(plan.passages, whole)
    firsts = [index * whole // count * body for index in range(count)]
    return tuple((*start, *tokens[first : first + body]) for first in firsts)
