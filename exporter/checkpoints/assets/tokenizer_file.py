"""A checkpoint's ``tokenizer.json``: which tokens it has, by their text. No tokenizer code is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.json_file import content_of, is_there
from exporter.errors import CheckpointError, listed
from exporter.json_text import parse_json

TOKENIZER = "tokenizer.json"

SHOWN = 8
"""Tokens named in a message; the rest are counted."""

BATCHING = ("truncation", "padding")
"""What the tokenizers library keeps of the last batch that was made with it, and then does to every text.

Training sets both, and saving writes them. transformers sets them anew for every call, the engine does not:
it would cut the end off a long prompt, and with it the turn of the model.
"""


@dataclass(frozen=True)
class PlainTokenizer:
    """A tokenizer's file, without :data:`BATCHING`: what a bundle has of it."""

    path: Path
    batching: tuple[str, ...]
    """Which of :data:`BATCHING` the file sets."""

    def content(self) -> bytes:
        """All of the file but for these."""
        found = content_of(self.path)
        if not self.batching:
            return found
        kept = {**parse_json(found), **dict.fromkeys(self.batching)}
        return json.dumps(kept, ensure_ascii=False).encode()

    def file(self, scratch: Path) -> Path:
        """A file with that content: the checkpoint's, or a copy in ``scratch``."""
        if not self.batching:
            return self.path
        copy = scratch / TOKENIZER
        copy.write_bytes(self.content())
        return copy

    def notes(self) -> tuple[str, ...]:
        """What was left out."""
        if not self.batching:
            return ()
        names = " and ".join(self.batching)
        return (f"{TOKENIZER}: {names} left out, as they were set for batches of training",)


@dataclass(frozen=True)
class TokenizerFile:
    """The tokens of a tokenizer, several hundred thousand.

    ``added`` are those that are found in a text before it is split, special tokens among them; ``ids``
    are all tokens, these included.
    """

    plain: PlainTokenizer
    added: Mapping[str, int]
    ids: Mapping[str, int]

    def check_rows(self, rows: int) -> None:
        """Check that a model with ``rows`` embeddings has one for every token.

        Raises:
            CheckpointError: Listing tokens that have none.
        """
        beyond = sorted((index, text) for text, index in self.ids.items() if not 0 <= index < rows)
        if beyond:
            named = [f"{text!r} is {index}" for index, text in beyond[:SHOWN]]
            if len(beyond) > SHOWN:
                named.append(f"and {len(beyond) - SHOWN} more")
            raise CheckpointError(
                f"{self.plain.path}: expected token ids below {rows}, the rows of the model's embedding, "
                "found tokens without a row; resize the embeddings (model.resize_token_embeddings) and train "
                f"them, or give the tokenizer that the weights were trained with: {listed(named)}"
            )


def read_tokenizer(path: Path) -> TokenizerFile:
    """Read a tokenizer's tokens.

    Raises:
        CheckpointError: There is no such file, or it is something else.
    """
    if not is_there(path):
        raise CheckpointError(
            f"{path.parent}: expected a tokenizer.json, found none; save the tokenizer beside the "
            "weights (AutoTokenizer.from_pretrained(base).save_pretrained(folder))"
        )
    try:
        content = parse_json(content_of(path))
        ids = _vocabulary(content["model"]["vocab"])
        added = {entry["content"]: _id(entry["id"]) for entry in content.get("added_tokens", [])}
        if not ids:
            raise ValueError("its vocabulary is empty")
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise CheckpointError(
            f"{path}: expected a Hugging Face tokenizer, found something else ({error})"
        ) from error
    plain = PlainTokenizer(path, tuple(key for key in BATCHING if content.get(key) is not None))
    return TokenizerFile(plain, added, {**ids, **added})


def _vocabulary(vocabulary: Any) -> dict[str, int]:
    """Ids by text. A Unigram model lists pairs of text and score; a token's place is then its id."""
    if isinstance(vocabulary, list):
        return {str(text): index for index, (text, _) in enumerate(vocabulary)}
    return {str(text): _id(index) for text, index in vocabulary.items()}


def _id(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"expected a whole number as a token's id, found {value!r}")
    return value
