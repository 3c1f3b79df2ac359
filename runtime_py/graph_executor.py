"""What executors on compiled graphs have in common: tokens in, the contract's tensors out.

Which runtime runs the graphs is a subclass's business; here is how tokens, positions and masks become
the inputs of a signature.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from exporter.contract import names
from exporter.contract.names import Accelerator
from exporter.contract.text import Contract
from runtime_py.loop.executor import (
    CacheT,
    DrafterOutput,
    DraftFeed,
    Floats,
    Lookups,
    TargetOutput,
)

CacheIn = TypeVar("CacheIn", contravariant=True)


class RunnableSignature(Protocol[CacheIn]):
    """One signature with its inputs and outputs, caches apart."""

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Set an input; ``values`` has its type and number of elements.

        Raises:
            EngineError: The runtime failed.
        """

    def run(self, cache: CacheIn | None = None) -> None:
        """Run on the inputs written, over the caches that it reads or writes.

        Raises:
            EngineError: The runtime failed.
        """

    def output(self, name: str) -> NDArray[Any]:
        """An output of the last run, in its shape; valid until the next one."""


@dataclass(frozen=True)
class TokenRow:
    """Tokens of one sequence, for the slots from ``position`` on."""

    tokens: Sequence[int]
    position: int


def token_inputs(
    agreed: Contract, lookups: Lookups, rows: Sequence[TokenRow], shape: tuple[int, int]
) -> dict[str, NDArray[Any]]:
    """The inputs of a signature of ``shape`` [B, T], caches apart.

    There may be fewer rows than B and fewer tokens than T: what is not there has zeros, position 0 and
    a mask row of false.
    """
    per_layer_shape = (*shape, agreed.layer_count, agreed.per_layer_width)
    embeddings = np.zeros((*shape, agreed.hidden_size), dtype=np.float32)
    per_layer = np.zeros(per_layer_shape, dtype=np.float32)
    positions = np.zeros(shape, dtype=np.int32)
    mask = np.zeros((*shape, agreed.cache_length), dtype=np.bool_)
    slots = np.arange(agreed.cache_length, dtype=np.int32)
    for index, row in enumerate(rows):
        used = len(row.tokens)
        for column, token in enumerate(row.tokens):
            embeddings[index, column] = lookups.embed(token)
            per_layer[index, column] = lookups.embed_per_layer(token)
        positions[index, :used] = np.arange(row.position, row.position + used)
        np.less_equal(slots, positions[index, :used, None], out=mask[index, :used])
    return {
        names.EMBEDDINGS: embeddings,
        names.PER_LAYER_EMBEDDINGS: per_layer,
        names.INPUT_POS: positions,
        names.MASK: mask,
    }


@dataclass(frozen=True)
class Chunk:
    """Part of a prefill: ``tokens`` of it through a signature of ``length``."""

    length: int
    tokens: int


def prefill_chunks(tokens: int, lengths: Sequence[int]) -> Iterator[Chunk]:
    """How to prefill ``tokens`` with signatures of the given lengths; as the stock engine does it.

    The longest as often as it fills up, then once the shortest that holds the rest: 300 tokens with
    128 and 1024 are 1024 (300 used); with 32 and 128 they are 128, 128, 128 (44 used).
    """
    longest = max(lengths)
    while tokens >= longest:
        yield Chunk(longest, longest)
        tokens -= longest
    if tokens:
        yield Chunk(min(length for length in lengths if length >= tokens), tokens)


class GraphExecutor(ABC, Generic[CacheT]):
    """An :class:`~runtime_py.loop.executor.Executor` on the signatures of a contract.

    Args:
        agreed: The contract.
        drafting: Whether the drafter and ``verify`` are to be used.
    """

    def __init__(self, agreed: Contract, *, drafting: bool) -> None:
        self.contract = agreed
        self._drafting = drafting and agreed.has_drafter
        self._slots: NDArray[np.int32] = np.arange(agreed.cache_length, dtype=np.int32)
        self._draft_positions: dict[str, int] = {}
        self.signatures: dict[str, RunnableSignature[CacheT]] = {}
        """What can be run, by the contract's names."""

    @abstractmethod
    def new_cache(self) -> CacheT:
        """A zeroed cache."""

    @abstractmethod
    def read_cache(self, cache: CacheT) -> dict[str, NDArray[Any]]:
        """A copy of a cache's tensors, by the contract's names and in its shapes."""

    @abstractmethod
    def close(self) -> None:
        """Release the models; caches made here must not be used again."""

    @property
    def cache_length(self) -> int:
        return self.contract.cache_length

    @property
    def draft_length(self) -> int:
        return self.contract.draft_length if self._drafting else 0

    def earliest_return(self, written: int) -> int:
        """The first slot that can be gone on from; see :meth:`~runtime_py.loop.executor.Executor`."""
        return self.contract.earliest_return(written)

    @property
    def drafts_at_once(self) -> int:
        return self.draft_length if names.DRAFT_ROUND in self.signatures else 0

    def embed(self, token: int) -> Floats:
        """The scaled embedding ``[H]`` of a token; valid until the next call."""
        return self._look_up(names.EMBED, names.EMBEDDINGS, token)

    def embed_per_layer(self, token: int) -> Floats:
        """The scaled per-layer embeddings ``[L, P]`` of a token; valid until the next call."""
        return self._look_up(names.EMBED_PER_LAYER, names.PER_LAYER_EMBEDDINGS, token)

    def _look_up(self, name: str, output: str, token: int) -> Floats:
        lookup = self.signatures[name]
        lookup.write(names.TOKEN_IDS, np.array([[token]], dtype=np.int32))
        lookup.run()
        row: Floats = lookup.output(output)[0, 0]
        return row

    def prefill(
        self, cache: CacheT, tokens: Sequence[int], position: int, lookups: Lookups | None = None
    ) -> None:
        """Write ``tokens`` to the slots from ``position`` on; ``lookups`` as in :meth:`read`.

        The last chunk is padded: position 0 and a mask row of false for each token that is not
        there. The graph takes care that a chunk sticking out past the end damages nothing.

        Raises:
            EngineError: The runtime failed.
        """
        done = 0
        for chunk in prefill_chunks(len(tokens), self.contract.prefill_lengths):
            name = f"{names.PREFILL_PREFIX}{chunk.length}"
            part = tokens[done : done + chunk.tokens]
            self._run_target(name, cache, part, position + done, chunk.length, lookups)
            done += chunk.tokens

    def decode(self, cache: CacheT, token: int, position: int) -> TargetOutput:
        """One token through the target.

        Raises:
            EngineError: The runtime failed.
        """
        return self._step(names.DECODE, cache, [token], position, 1)

    def verify(self, cache: CacheT, tokens: Sequence[int], position: int) -> TargetOutput:
        """Up to G + 1 tokens through the target; fewer are padded to the signature's fixed length.

        Raises:
            EngineError: The runtime failed.
        """
        length = self.contract.draft_length + 1
        return self._step(names.VERIFY, cache, tokens, position, length)

    def read(
        self, cache: CacheT, tokens: Sequence[int], position: int, lookups: Lookups | None = None
    ) -> TargetOutput:
        """As many tokens as one call takes: :meth:`verify`, or :meth:`decode` where nothing drafts.

        Args:
            cache: Written from ``position`` on.
            tokens: G + 1 of them, or fewer.
            position: Of the first.
            lookups: Embeddings to use instead of the bundle's own.

        Raises:
            EngineError: The runtime failed.
        """
        name = names.VERIFY if self.draft_length else names.DECODE
        return self._step(name, cache, tokens, position, self.draft_length + 1, lookups)

    def draft(self, feed: DraftFeed[CacheT], lookups: Lookups | None = None) -> DrafterOutput:
        """One token through the drafter, over the target's caches; ``lookups`` as in :meth:`read`.

        Raises:
            EngineError: The runtime failed.
        """
        drafter = self.signatures[names.DRAFT]
        embedded = (lookups or self).embed(feed.token)
        drafter.write(names.ACTIVATIONS, np.concatenate([embedded, feed.hidden]))
        if feed.position != self._draft_positions.get(names.DRAFT):  # equal for all of a round
            self._place_draft(names.DRAFT, feed.position)
            self._write_params(drafter, feed.position, 1)
        drafter.run(feed.cache)
        return DrafterOutput(
            drafter.output(names.LOGITS)[0, 0], drafter.output(names.PROJECTED_ACTIVATIONS)[0, 0]
        )

    def draft_round(self, feed: DraftFeed[CacheT]) -> tuple[int, ...]:
        """G drafts in one call, over the target's caches.

        Raises:
            EngineError: The runtime failed.
        """
        drafter = self.signatures[names.DRAFT_ROUND]
        drafter.write(names.TOKEN_IDS, np.array([[feed.token]], dtype=np.int32))
        drafter.write(names.ACTIVATIONS, feed.hidden)
        self._place_draft(names.DRAFT_ROUND, feed.position)
        drafter.run(feed.cache)
        return tuple(map(int, drafter.output(names.TOKENS)))

    def _place_draft(self, name: str, position: int) -> None:
        """Say where a drafting signature stands."""
        self.signatures[name].write(names.INPUT_POS, np.array([position], dtype=np.int32))
        self.signatures[name].write(names.MASK, self._slots <= position)
        self._draft_positions[name] = position

    def _step(
        self,
        name: str,
        cache: CacheT,
        tokens: Sequence[int],
        position: int,
        length: int,
        lookups: Lookups | None = None,
    ) -> TargetOutput:
        self._run_target(name, cache, tokens, position, length, lookups)
        signature, used = self.signatures[name], len(tokens)
        logits, hidden = signature.output(names.LOGITS), signature.output(names.ACTIVATIONS)
        return TargetOutput(logits[0, :used], hidden[0, :used])

    def _run_target(
        self,
        name: str,
        cache: CacheT,
        tokens: Sequence[int],
        position: int,
        length: int,
        lookups: Lookups | None = None,
    ) -> None:
        """Run a signature of ``length`` tokens on ``tokens``, of which there may be fewer."""
        signature, rows = self.signatures[name], [TokenRow(tokens, position)]
        inputs = token_inputs(self.contract, lookups or self, rows, (1, length))
        for key, values in inputs.items():
            signature.write(key, values)
        self._write_params(signature, position, len(tokens))
        signature.run(cache)

    def _write_params(self, signature: RunnableSignature[CacheT], start: int, tokens: int) -> None:
        """Tell graphs for a GPU which slots are written and how many are then in use."""
        if self.contract.accelerator is Accelerator.GPU:
            end = start + tokens
            signature.write(names.PARAM_TENSOR, np.array([start, end, end, 0, 0, 0, 0], np.int32))
