"""What the speculative loop asks of a model: a few calls on tokens, with the KV cache as an argument.

Axes as in ``exporter.contract``. A cache is opaque to the loop and knows no length: the caller says at
which slot a call writes, so rolling back is not advancing an integer. Nothing here knows LiteRT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CacheT = TypeVar("CacheT")
"""An executor's KV caches of one sequence."""


@dataclass(frozen=True)
class TargetOutput:
    """What the target says after each of T tokens.

    The arrays may be the executor's own buffers: they hold until its next call of the same kind.
    """

    logits: Floats  # [T, V], softcapped
    hidden: Floats  # [T, H], after the final norm


@dataclass(frozen=True)
class DraftFeed(Generic[CacheT]):
    """What a draft is made from."""

    cache: CacheT
    """Read only."""
    token: int
    """The pending token, or the previous draft."""
    hidden: Floats
    """``[H]``, the target's at slot ``position``, or the previous draft's ``projected``."""
    position: int
    """The last committed slot, the same for all drafts of a round."""


@dataclass(frozen=True)
class DrafterOutput:
    """What the drafter says after one token; the arrays hold until its next call."""

    logits: Floats  # [V]
    projected: Floats  # [H], the hidden state of the next draft


class Lookups(Protocol):
    """Embeddings; each valid until the next call."""

    def embed(self, token: int) -> Floats:
        """Scaled, ``[H]``."""

    def embed_per_layer(self, token: int) -> Floats:
        """Scaled, ``[L, P]``."""


class BaseExecutor(Protocol[CacheT]):
    """A target and, if ``draft_length`` is not 0, its drafter."""

    @property
    def cache_length(self) -> int:
        """S, the slots of a cache."""

    @property
    def draft_length(self) -> int:
        """G, the most drafts of a sequence that one ``verify`` can judge; 0 without a drafter."""

    def new_cache(self) -> CacheT:
        """An empty cache of one sequence."""

    def prefill(
        self, cache: CacheT, tokens: Sequence[int], position: int, lookups: Lookups | None = None
    ) -> None:
        """Write ``tokens`` of one sequence to the slots from ``position`` on; they must fit.

        ``lookups`` are embeddings to use instead of the model's own.
        """


class Executor(BaseExecutor[CacheT], Protocol[CacheT]):
    """Runs one sequence at a time.

    Source of the call order and of the positions: LiteRT-LM's CPU executor and MTP drafter.
    """

    @property
    def drafts_at_once(self) -> int:
        """G if there is a :meth:`draft_round`, else 0."""

    def earliest_return(self, written: int) -> int:
        """The first slot that can be gone on from once ``written`` slots were; slot 0 always can.

        Not 0 where what tokens see may be overwritten: going on from there then fails.
        """

    def decode(self, cache: CacheT, token: int, position: int) -> TargetOutput:
        """Write ``token`` to slot ``position`` and say what follows (T = 1)."""

    def verify(self, cache: CacheT, tokens: Sequence[int], position: int) -> TargetOutput:
        """Write 1 to G + 1 tokens and say what follows each; G + 1 slots from ``position`` on must be free.

        The slots after the given tokens are left with garbage, which later tokens overwrite.
        """

    def draft(self, feed: DraftFeed[CacheT]) -> DrafterOutput:
        """Draft what follows a token."""

    def draft_round(self, feed: DraftFeed[CacheT]) -> Sequence[int]:
        """The G tokens that greedy drafts come to, in one call; ``feed`` is that of the first."""
