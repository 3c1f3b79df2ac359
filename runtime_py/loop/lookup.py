"""Prompt lookup: drafts from the context, which no model is asked for.

The latest tokens are looked for where they stood before; what followed there is the draft. That is right
for long stretches where text is copied or edited. How often is for the policy to find out: a match says how
long it is, and the longer it is, the likelier it goes on.

Source: Saxena, "Prompt Lookup Decoding", 2023; ``prompt_lookup_num_tokens`` of transformers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

SIZES = (3, 2, 1)
"""Tokens that are looked for, the most first."""

LONGEST_MATCH = 8
"""Longer matches are not told apart."""


@dataclass(frozen=True)
class Match:
    """Where the latest tokens stood before: how many of them, and what followed."""

    length: int
    tokens: tuple[int, ...]


NO_MATCH = Match(0, ())


class PromptLookup:
    """The tokens of a sequence, by what stands before them.

    Args:
        tokens: So far, the pending one included. Negative numbers stand for what is no token; nothing is
            drafted from them on.
        drafts: The most tokens of a match.
    """

    def __init__(self, tokens: Iterable[int], drafts: int) -> None:
        self._tokens: list[int] = []
        self._drafts = drafts
        self._follows: dict[
            tuple[int, ...], int
        ] = {}  # where the token after an n-gram's latest one is
        self._next = 0  # where the token is that followed last time; 0: there was no such time
        self.extend(tokens)

    def extend(self, tokens: Iterable[int]) -> None:
        """More tokens of the sequence. A match that they go on with is kept."""
        for token in tokens:
            goes_on = self._next > 0 and self._tokens[self._next] == token
            self._tokens.append(token)
            grams = [tuple(self._tokens[-size:]) for size in SIZES]
            known = (self._follows[gram] for gram in grams if gram in self._follows)
            self._next = self._next + 1 if goes_on else next(known, 0)
            self._follows.update(dict.fromkeys(grams, len(self._tokens)))

    def match(self) -> Match:
        """What the latest tokens match. In ``a b c a b c`` more of the same follows the last ``a b c``."""
        if not self._next:
            return NO_MATCH
        period = len(self._tokens) - self._next
        following = (self._tokens[self._next + index % period] for index in range(self._drafts))
        tokens = tuple(takewhile(lambda token: token >= 0, following))
        return Match(self._length(), tokens) if tokens else NO_MATCH

    def _length(self) -> int:
        end, before = len(self._tokens), self._next
        backwards = range(1, min(LONGEST_MATCH, before) + 1)
        same = takewhile(lambda n: self._tokens[end - n] == self._tokens[before - n], backwards)
        return sum(1 for _ in same)
