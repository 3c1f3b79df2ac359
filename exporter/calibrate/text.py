"""The calibration text, as sequences of tokens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.assets.assets import Assets
from exporter.errors import RecipeError
from exporter.regular_file import require_file

SEQUENCE = 512
"""Tokens read as one text, the start token included; the sliding window of E2B and E4B."""

MOST_SEQUENCES = 16
"""Read of a file; the rest is ignored. 8192 tokens are several times the width of most inputs."""

DEFAULT_TEXT = Path(__file__).parent / "default_text.txt"
"""A little of everything: chat, prose, code, tables, several languages. Enough for the ranges of keys and
values, which hardly depend on what is read; too little for choosing codes."""

LEAST_TOKENS = 64
"""Fewer say nothing about inputs."""


@dataclass(frozen=True)
class CalibrationText:
    """Sequences of tokens and what they came from."""

    sequences: tuple[tuple[int, ...], ...]
    sha256: str

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        return {"sha256": self.sha256, "tokens": sum(map(len, self.sequences))}


def read_text(path: Path, assets: Assets) -> CalibrationText:
    """Tokens of a UTF-8 text file; markers of chat turns in it become the tokens they stand for.

    Raises:
        RecipeError: The file cannot be read, or is too short.
    """
    import tokenizers

    try:
        content = require_file(path).read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: expected a calibration text in UTF-8 ({error})") from error
    tokenizer: Any = tokenizers.Tokenizer.from_buffer(assets.tokenizer.content())
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    if len(tokens) < LEAST_TOKENS:
        raise RecipeError(
            f"{path}: expected a calibration text of {LEAST_TOKENS} tokens or more, found "
            f"{len(tokens)}; give some pages of what the model will read and write"
        )
    starts = range(0, len(tokens), SEQUENCE - 1)[:MOST_SEQUENCES]
    pieces = [tokens[start : start + SEQUENCE - 1] for start in starts]
    sequences = tuple((assets.ids.bos, *piece) for piece in pieces if len(piece) > 1)
    return CalibrationText(sequences, hashlib.sha256(content).hexdigest())
