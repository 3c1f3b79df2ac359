"""The tokens around a picture, which the engine puts into a prompt.

A ``config.json`` numbers them; the engine wants their texts, and the embedding of the one at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.assets.tokenizer_file import TokenizerFile

PLACE = "<|image|>"
"""Where a chat template says that a picture is: the engine looks for this text."""

START_ID, END_ID = "boi_token_id", "eoi_token_id"
DEFAULTS: Mapping[str, int] = {START_ID: 255_999, END_ID: 258_882}
"""Where a config does not say, as in transformers' ``Gemma4Config``."""


@dataclass(frozen=True)
class PictureTokens:
    """Texts of the tokens that begin and end a picture, and the number of the latter."""

    start: str
    end: str
    end_id: int


def read_picture_tokens(
    config: Mapping[str, Any], tokenizer: TokenizerFile
) -> PictureTokens | None:
    """The tokens that ``config.json`` numbers; None where the tokenizer does not have both."""
    texts = {index: text for text, index in tokenizer.added.items()}
    start, end = (config.get(key, default) for key, default in DEFAULTS.items())
    if start not in texts or end not in texts:
        return None
    return PictureTokens(texts[start], texts[end], end)
