"""Text to tokens and back, as the bundle's own ``tokenizer.json`` has it.

Knows the start, stop and suppressed tokens of the bundle's metadata; knows nothing of conversations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tokenizers

from exporter.errors import BundleError
from runtime_py.chat.text_source import TextSource

REPLACEMENT = "\ufffd"
"""What decoding gives for the bytes of a character that is not complete."""


class Tokenizer:
    """The tokenizer of a bundle.

    Raises:
        BundleError: The bundle has none, it is damaged, or it has no single-token stop.
    """

    def __init__(self, bundle: TextSource) -> None:
        content = bundle.tokenizer_json()
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_str(content.decode())
        except Exception as error:  # the library raises bare Exception
            raise BundleError(f"{bundle.path}: the tokenizer is damaged ({error})") from error
        metadata = bundle.llm_metadata()
        starts = self._union(metadata.start_token) if metadata.HasField("start_token") else []
        self.start_token = starts[0] if starts else None
        sequences = [self._union(stop) for stop in metadata.stop_tokens]
        if not sequences or any(len(sequence) != 1 for sequence in sequences):
            raise BundleError(
                f"{bundle.path}: expected stop tokens of one token each, found {sequences}"
            )
        self.stop_tokens = frozenset(sequence[0] for sequence in sequences)
        self.suppressed_tokens = frozenset(metadata.suppress_tokens.ids)

    def _union(self, union: Any) -> list[int]:
        """Ids of the metadata's ``TokenUnion``: given as ids or as text."""
        if union.WhichOneof("token_union") == "token_str":
            return self.encode(union.token_str)
        return list(union.token_ids.ids)

    def encode(self, text: str) -> list[int]:
        """Tokens of ``text``; special tokens are recognised, none is added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_prompt(self, text: str) -> list[int]:
        """Tokens of ``text`` behind the start token, which is not added twice."""
        tokens = self.encode(text)
        if self.start_token is not None and tokens[:1] != [self.start_token]:
            return [self.start_token, *tokens]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ``tokens``, special ones included."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def text_of(self, token: int) -> str:
        """The name of one token; empty if there is none such."""
        return self._tokenizer.id_to_token(token) or ""


class StreamingText:
    """Turns tokens into text piece by piece, never emitting half a character.

    Only the tokens since the last complete piece are decoded again, so long answers cost no more per
    token than short ones: with ``decode(a b) = "x?"`` (``?`` half a character) the piece is held back
    until ``decode(a b c)`` ends in a whole one.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []  # emitted, but needed to decode what follows
        self._open: list[int] = []  # not emitted yet

    def push(self, tokens: Iterable[int]) -> str:
        """Text that became certain with ``tokens``; may be empty."""
        self._open += tokens
        piece = self._piece()
        if not piece or piece.endswith(REPLACEMENT):
            return ""
        self._context, self._open = self._open, []
        return piece

    def flush(self) -> str:
        """The rest, complete or not; nothing can be pushed afterwards."""
        piece = self._piece()
        self._context, self._open = [], []
        return piece

    def _piece(self) -> str:
        before = self._tokenizer.decode(self._context)
        return self._tokenizer.decode(self._context + self._open)[len(before) :]
