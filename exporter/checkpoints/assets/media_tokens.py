"""The tokens around a picture or a clip, which the engine puts into a prompt.

A ``config.json`` numbers them; the engine wants their texts, and the embedding of the one at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.assets.tokenizer_file import TokenizerFile


@dataclass(frozen=True)
class MediumSpelling:
    """How chat templates and configs spell where a picture or a clip is, and what stands around it."""

    plural: str
    place: str
    """What a chat template prints where one is: the engine looks for this text."""
    start_id: str
    end_id: str
    """Keys of ``config.json`` with the numbers of the tokens around it."""
    defaults: tuple[int, int]
    """The numbers of these tokens where a config gives none, as in transformers' ``Gemma4Config``."""


PICTURE = MediumSpelling(
    "pictures", "<|image|>", "boi_token_id", "eoi_token_id", (255_999, 258_882)
)
SOUND = MediumSpelling("sound", "<|audio|>", "boa_token_id", "eoa_token_index", (256_000, 258_883))


@dataclass(frozen=True)
class MediaTokens:
    """Texts of the tokens that begin and end a picture or a clip, and the number of the latter."""

    start: str
    end: str
    end_id: int


def read_media_tokens(
    medium: MediumSpelling, config: Mapping[str, Any], tokenizer: TokenizerFile
) -> MediaTokens | None:
    """The tokens that ``config.json`` numbers; None where the tokenizer does not have both."""
    texts = {index: text for text, index in tokenizer.added.items()}
    keys = (medium.start_id, medium.end_id)
    start, end = (config.get(*entry) for entry in zip(keys, medium.defaults, strict=True))
    if type(start) is not int or type(end) is not int or not {start, end} <= texts.keys():
        return None
    return MediaTokens(texts[start], texts[end], end)
