"""What the rungs run on: prompts, and one text that passes the sliding window.

The default prompts are plain sentences any model can go on with; ``--prompts`` gives others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.contract.text import Contract
from exporter.errors import MtpExportError
from exporter.regular_file import require_text

if TYPE_CHECKING:
    from runtime_py.chat.tokenizer import Tokenizer

DEFAULT_PROMPTS = (
    "Why is the sky blue in the morning and red in the evening?",
    "Tell me a short story about a fox that crosses a frozen river to visit its friend.",
    "Write the numbers from one to ten, then say which of them are even.",
    "What is a good breakfast before a long walk in the mountains?",
    "Explain to a child how a seed in the garden becomes a tall tree.",
    "A train leaves at nine and arrives at noon. How long is the journey?",
)

BEYOND_WINDOW = 48
"""Tokens after the sliding window is full, so that something has dropped out of it."""


class PromptFileError(MtpExportError):
    """A prompt file cannot be read or holds no prompt."""


def read_prompts(file: Path | None) -> tuple[str, ...]:
    """The prompts of a file, one a line; the default ones without a file.

    Lines end as editors end them. Other characters that Unicode takes for the end of a line are part of a
    prompt, and a byte order mark is not.

    Raises:
        PromptFileError: The file is missing, not UTF-8 text, or empty.
    """
    if file is None:
        return DEFAULT_PROMPTS
    try:
        lines = require_text(file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptFileError(f"{file}: expected a text file of prompts ({error})") from error
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise PromptFileError(f"{file}: expected one prompt a line, found none")
    return prompts


@dataclass(frozen=True)
class Text:
    """One text as tokens. The first ``fresh`` are the prompts, the rest repeats them."""

    tokens: tuple[int, ...]
    fresh: int


def one_text(prompts: Sequence[str], tokenizer: Tokenizer, agreed: Contract) -> Text:
    """The prompts as one text, repeated until the window has long been full.

    It also fills more than the second-longest prefill, so that the longest is used too, and leaves
    the slots that one more verify writes.
    """
    lengths = sorted(agreed.prefill_lengths)
    wanted = max(agreed.sliding_window + BEYOND_WINDOW, lengths[-2] + 8 if len(lengths) > 1 else 0)
    length = min(wanted, agreed.cache_length - agreed.draft_length - 1)
    once = tokenizer.encode_prompt("\n".join(prompts))
    tokens = (once * (1 + length // len(once)))[:length]
    return Text(tuple(tokens), min(len(once), length))
