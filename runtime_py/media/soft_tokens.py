"""Embeddings that no token has, among those of tokens: pictures and sounds in a prompt.

Each gets a negative number. So a prompt stays a list of numbers, and what two prompts share is found by
comparing them, whatever they consist of.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime_py.loop.executor import Floats, Lookups

PADDING_TOKEN = 0
"""Whose per-layer embeddings every position without a token gets. Source: LiteRT-LM's CPU executor."""


@dataclass(frozen=True)
class SoftPart:
    """What stands for a picture or a sound in a prompt."""

    key: bytes
    """A hash of the content: parts with equal ones get the same numbers."""
    rows: Floats
    """``[n, H]``, the embedding of its end included."""


class SoftTokens:
    """The numbers given out in a conversation; :class:`~runtime_py.loop.executor.Lookups` for them, too.

    Args:
        tokens: The embeddings of tokens.
    """

    def __init__(self, tokens: Lookups) -> None:
        self._tokens = tokens
        self._rows: list[Floats] = []
        self._known: dict[bytes, range] = {}

    def numbers(self, part: SoftPart) -> range:
        """The numbers of a part's rows; those of an equal one if there was one before.

        The first part of three rows is -1, -2, -3, the next begins with -4.
        """
        if part.key not in self._known:
            first = -len(self._rows) - 1
            self._known[part.key] = range(first, first - len(part.rows), -1)
            self._rows += list(part.rows)
        return self._known[part.key]

    def embed(self, token: int) -> Floats:
        return self._rows[-token - 1] if token < 0 else self._tokens.embed(token)

    def embed_per_layer(self, token: int) -> Floats:
        return self._tokens.embed_per_layer(PADDING_TOKEN if token < 0 else token)
