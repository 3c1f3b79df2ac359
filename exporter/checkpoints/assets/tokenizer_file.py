"""A checkpoint's ``tokenizer.json``: which tokens it has, by their text. No tokenizer code is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.json_file import content_of, is_there
from exporter.errors import CheckpointError, listed
from exporter.json_text import parse_json

SHOWN = 8
"""Tokens named in a message; the rest are counted."""


@dataclass(frozen=True)
class TokenizerFile:
    """The tokens of a tokenizer.

    ``added`` are those that are found in a text before it is split, special tokens among them; ``ids``
    are all tokens, these included.
    """

    path: Path
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
                f"{self.path}: expected token ids below {rows}, the rows of the model's embedding, found "
                f"tokens without a row; resize the embeddings (model.resize_token_embeddings) and train "
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
    return TokenizerFile(path, added, {**ids, **added})


def _vocabulary(vocabulary: Any) -> dict[str, int]:
    """Ids by text. A Unigram model lists pairs of text and score; a token's place is then its id."""
    if isinstance(vocabulary, list):
        return {str(text): index for index, (text, _) in enumerate(vocabulary)}
    return {str(text): _id(index) for text, index in vocabulary.items()}


def _id(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"expected a whole number as a token's id, found {value!r}")
    return value
