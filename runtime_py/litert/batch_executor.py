"""The batched executor on LiteRT: the batch signatures of a bundle that was opened for one sequence.

Caches are those of :class:`~runtime_py.litert.executor.LitertExecutor`, one per sequence, bound to the
row that the sequence has in a call. Rows without a sequence are bound to a spare cache, at slot 0: they
compute something that nobody reads, and harm nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exporter.bundle.signature_check import find_signatures, wanted_batch_sections
from exporter.contract import names
from exporter.errors import BundleError
from runtime_py.graph_executor import TokenRow, token_inputs
from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.graph import LitertCache
from runtime_py.litert.native_log import captured_native_log
from runtime_py.loop.batch_executor import Feed
from runtime_py.loop.executor import DrafterOutput, DraftFeed, Lookups, TargetOutput

NOWHERE = -1
"""Last committed slot of a row without a sequence, which begins at slot 0."""


class BatchLitertExecutor:
    """Runs up to ``batch`` sequences; a :class:`~runtime_py.loop.batch_executor.BatchExecutor`.

    Args:
        single: The same bundle, opened for one sequence; it must stay open.

    Raises:
        BundleError: The bundle was exported without ``--batch``, or its graphs are not as promised.
    """

    def __init__(self, single: LitertExecutor) -> None:
        self._single, self._agreed = single, single.contract
        if self._agreed.batch == 1:
            raise BundleError(
                f"{single.bundle.path}: this bundle runs one sequence at a time; export it with --batch N"
            )
        lowered = self._agreed.as_lowered()
        wanted = wanted_batch_sections(lowered, drafting=bool(single.draft_length))
        caches = frozenset(self._agreed.batch_kv_specs())
        found = find_signatures(single.bundle, wanted)
        with captured_native_log():
            self._signatures = {
                one.name: single.graphs[one.section].signature(one.in_file, one.spec, caches)
                for one in found
            }
        self._rows = [self._agreed.kv_specs(sequence=row) for row in range(self._agreed.batch)]
        self._slots: NDArray[np.int32] = np.arange(self._agreed.cache_length, dtype=np.int32)
        self._spare: LitertCache | None = None
        self._draft_positions: list[int] = []

    @property
    def batch(self) -> int:
        return self._agreed.batch

    @property
    def cache_length(self) -> int:
        return self._agreed.cache_length

    @property
    def draft_length(self) -> int:
        return self._single.draft_length

    def new_cache(self) -> LitertCache:
        """A zeroed cache of one sequence."""
        return self._single.new_cache()

    def prefill(
        self,
        cache: LitertCache,
        tokens: Sequence[int],
        position: int,
        lookups: Lookups | None = None,
    ) -> None:
        """Write ``tokens`` of one sequence to the slots from ``position`` on."""
        self._single.prefill(cache, tokens, position, lookups)

    def decode(self, feeds: Sequence[Feed[LitertCache]]) -> list[TargetOutput]:
        """One token of each sequence through the target."""
        return self._step(names.BATCH_DECODE, feeds, 1)

    def verify(self, feeds: Sequence[Feed[LitertCache]]) -> list[TargetOutput]:
        """Up to G + 1 tokens of each; fewer are padded, as by the executor for one sequence."""
        return self._step(names.BATCH_VERIFY, feeds, self._agreed.draft_length + 1)

    def draft(self, feeds: Sequence[DraftFeed[LitertCache]]) -> list[DrafterOutput]:
        """One token of each through the drafter, over the target's caches."""
        drafter, rows = self._signatures[names.BATCH_DRAFT], self._agreed.batch
        activations = np.zeros((rows, 2 * self._agreed.hidden_size), dtype=np.float32)
        for row, feed in enumerate(feeds):
            np.concatenate([self._single.embed(feed.token), feed.hidden], out=activations[row])
        drafter.write(names.ACTIVATIONS, activations)
        positions = [feed.position for feed in feeds] + [NOWHERE] * (rows - len(feeds))
        if positions != self._draft_positions:  # mostly the same for all steps of a draft
            column = np.array(positions, dtype=np.int32)
            drafter.write(names.INPUT_POS, column)
            drafter.write(names.MASK, self._slots <= column[:, None])
            self._draft_positions = positions
        drafter.run(self._bound(self._caches(feeds)))
        logits = drafter.output(names.LOGITS)[:, 0]
        projected = drafter.output(names.PROJECTED_ACTIVATIONS)[:, 0]
        return [DrafterOutput(logits[row], projected[row]) for row in range(len(feeds))]

    def _step(
        self, name: str, feeds: Sequence[Feed[LitertCache]], length: int
    ) -> list[TargetOutput]:
        signature, caches = self._signatures[name], self._caches(feeds)
        rows = [TokenRow(feed.tokens, feed.position) for feed in feeds]
        shape = (self._agreed.batch, length)
        for key, values in token_inputs(self._agreed, self._single, rows, shape).items():
            signature.write(key, values)
        signature.run(self._bound(caches))
        logits, hidden = signature.output(names.LOGITS), signature.output(names.ACTIVATIONS)
        used = [len(feed.tokens) for feed in feeds]
        return [
            TargetOutput(logits[row, :count], hidden[row, :count]) for row, count in enumerate(used)
        ]

    def _caches(
        self, feeds: Sequence[Feed[LitertCache]] | Sequence[DraftFeed[LitertCache]]
    ) -> list[LitertCache]:
        """The cache of every row."""
        caches = [feed.cache for feed in feeds]
        if idle := self._agreed.batch - len(caches):
            self._spare = self._spare or self.new_cache()
            caches += [self._spare] * idle
        return caches

    def _bound(self, caches: Sequence[LitertCache]) -> LitertCache:
        """The buffers of every row's cache, by the names the batch signatures have for them."""
        return LitertCache(
            {
                in_row: buffer
                for row, cache in zip(self._rows, caches, strict=True)
                for in_row, buffer in zip(row, cache.buffers.values(), strict=True)
            }
        )
