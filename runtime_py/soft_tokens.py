"""Embeddings that no token has, among those of tokens: pictures in a prompt.

Each gets a negative number. So a prompt stays a list of numbers, and what two prompts share is found by
comparing them, whatever they consist of.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime_py.loop.executor import Floats, Lookups

PADDING_TOKEN = 0
"""Whose per-layer embeddings every position without a token gets. Source: LiteRT-LM's CPU executor."""


@dataclass(frozen=True)
class SoftPicture:
    """What stands for a picture in a prompt."""

    key: bytes
    """Equal for equal pictures."""
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

    def numbers(self, picture: SoftPicture) -> range:
        """The numbers of a picture's rows; those of an equal one if there was one before.

        The first picture of three rows is -1, -2, -3, the next begins with -4.
        """
        if picture.key not in self._known:
            first = -len(self._rows) - 1
            self._known[picture.key] = range(first, first - len(picture.rows), -1)
            self._rows += list(picture.rows)
        return self._known[picture.key]

    def embed(self, token: int) -> Floats:
        return self._rows[-token - 1] if token < 0 else self._tokens.embed(token)

    def embed_per_layer(self, token: int) -> Floats:
        return self._tokens.embed_per_layer(PADDING_TOKEN if token < 0 else token)
