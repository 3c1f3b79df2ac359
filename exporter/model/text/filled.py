"""Full attention that costs what is filled, not what could be.

A product over a cache reads all its S slots, whatever the mask says of them. So attention is written for
a few lengths as well, each over the first slots only, and the call takes the shortest that holds all
tokens seen. For lowering, each is a composite, and ``exporter.lowering.choices`` turns the choice between
them into IF operations, whose branches cost nothing unless they are taken.

Cutting copies the keys and values of a stretch, which takes about as long as multiplying them. So a
length is used only where the caches are well longer; S itself is in the graph as nothing but a shape, so
how many slots there are is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from litert_torch.backend.composite import StableHLOCompositeBuilder
from torch import Tensor

from exporter.contract.names import CHOICE_PREFIX
from exporter.model.text.kv import Kv, View, filled_slots
from exporter.model.text.layers import attend

SHORTEST = 512
"""The first length; each further one is twice as long."""

WORTH_FOR_ONE, WORTH_FOR_SEVERAL = (8, 3), (5, 3)
"""A length is used where so many times it (8 in a call of one token) is at most so many times S (3)."""

SCORES_AT_ONCE = 35_000_000
"""So many are in memory at the same time, 140 MB; a prefill of 1024 over 32771 slots has 8 times as many."""


def lengths_below(slots: int) -> tuple[int, ...]:
    """The lengths that a graph with caches of up to ``slots`` slots can choose from."""
    most = slots * WORTH_FOR_SEVERAL[1] // WORTH_FOR_SEVERAL[0]
    doublings = range((most // SHORTEST).bit_length())
    return tuple(SHORTEST << doubling for doubling in doublings)


def of_filled(view: View, mask: Tensor, lengths: Sequence[int]) -> View:
    """``view``, of all slots, as the slots filled by ``mask`` ``[1, 1, T, S]`` need it.

    Unchanged where there is nothing to choose from.
    """
    if not lengths:
        return view
    times, most = WORTH_FOR_ONE if mask.shape[2] == 1 else WORTH_FOR_SEVERAL
    filled = filled_slots(mask)
    empty = (~mask.any(dim=2)).to(torch.int32).sum(dtype=torch.int32)
    slots, left = filled + empty, torch.ones((), dtype=torch.bool)
    chosen = []
    for length in lengths:
        holds = (filled <= length) & (slots * most >= length * times)
        chosen.append(left & holds)
        left = left & ~holds
    return FilledView(
        view.rotation, view.bias, None, view.length, (*chosen, left), (*lengths, view.length)
    )


@dataclass(frozen=True)
class FilledView(View):
    """What full attention sees: ``lengths[i]`` slots where ``chosen[i]`` holds, which one does."""

    chosen: tuple[Tensor, ...]  # bool scalars
    lengths: tuple[int, ...]

    def of(self, kv: Kv) -> Kv:
        """The caches as they are: every layer cuts them for itself."""
        return kv

    def attend(self, queries: Tensor, kv: Kv) -> Tensor:
        """See :meth:`View.attend`."""
        attended = queries.reshape(1, queries.shape[1], -1)  # of its shape; never left
        for chosen, length in zip(self.chosen, self.lengths, strict=True):
            attended = torch.where(chosen, self._over(length, queries, kv), attended)
        return attended

    def _over(self, length: int, queries: Tensor, kv: Kv) -> Tensor:
        """Attention over the first ``length`` slots, as a branch."""
        builder = StableHLOCompositeBuilder(f"{CHOICE_PREFIX}{length}", {})
        queries, bias, *tensors = builder.mark_inputs(queries, self.bias, *kv.tensors())
        seen, view = kv.with_tensors(*tensors), replace(self, bias=bias)
        if length < self.length:
            seen, view = seen.first(length), replace(self, bias=bias[..., :length])
        attended: Tensor = builder.mark_outputs(attend_in_pieces(queries, seen.readable(), view))
        return attended


def attend_in_pieces(queries: Tensor, kv: Kv, view: View) -> Tensor:
    """Attention of ``queries`` ``[1, T, N, D]``; with many slots, of some tokens after the others."""
    tokens, heads = queries.shape[1:3]
    piece = max(1, SCORES_AT_ONCE // (heads * kv.keys.shape[2]))
    piece = 1 << (piece.bit_length() - 1)
    pieces = [
        attend(
            queries[:, first : first + piece],
            kv,
            replace(view, bias=view.bias[:, :, first : first + piece]),
        )
        for first in range(0, tokens, piece)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
