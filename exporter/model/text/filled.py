"""Full attention that costs what is filled, not what could be.

A product over a cache reads all its S slots, whatever the mask says of them. So attention is written for
a few lengths as well, each over the first slots only, and the call takes the shortest that holds all
tokens seen. For lowering, each is a composite, and ``exporter.lowering.choices`` turns the choice between
them into IF operations, whose branches cost nothing unless they are taken.

Cutting copies the keys and values of a stretch, which takes about as long as multiplying them. So a
length is used only where the caches are well longer; S itself is in the graph as nothing but a shape, so
how many slots there are is counted.

A prefill multiplies far longer than it copies, so it takes every length. Its tokens attend in groups, each
over the slots up to its own last token: in a branch of 2048 slots the last 256 of 1024 tokens meet all of
them, those before meet 1792. A length holds a call if it holds every group of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from litert_torch.backend.composite import StableHLOCompositeBuilder
from torch import Tensor

from exporter.contract.names import CHOICE_PREFIX
from exporter.model.text.kv import Kv, View, filled_slots
from exporter.model.text.layers import FEW_ROWS, MASKED_SCORE, Attended, attend

LENGTHS = (512, 1024, 2048, 3072, 4096, 6144, 8192)
"""None is longer: what a branch cuts is in memory, 17 MB of 512 channels, whether it is taken or not."""

SEVERAL = 16
"""A call of more tokens than that is a prefill."""

GROUP = 256
"""So many tokens of a prefill meet only the slots up to their own last one."""

LONG = 16384
"""Over more slots a prefill's pieces have half as many tokens: their scores are what takes memory."""


def lengths_below(slots: int) -> tuple[int, ...]:
    """The lengths that a graph with caches of up to ``slots`` slots can choose from."""
    return tuple(length for length in LENGTHS if length <= slots * 3 // 5)


def groups(tokens: int) -> list[slice]:
    """A call's tokens in groups that meet different numbers of slots."""
    return in_pieces(slice(0, tokens), GROUP)


def in_pieces(tokens: slice, size: int) -> list[slice]:
    """``tokens``, ``size`` of them at a time."""
    firsts = range(tokens.start, tokens.stop, size)
    return [slice(first, min(first + size, tokens.stop)) for first in firsts]


def of_filled(kv: Kv, view: View, mask: Tensor, lengths: Sequence[int]) -> View:
    """``view``, of all slots of ``kv``, as the slots filled by ``mask`` ``[1, 1, T, S]`` need it.

    Unchanged where there is nothing to choose from. No length is shorter than the call.
    """
    tokens = mask.shape[2]
    lengths = [length for length in lengths if length >= tokens]
    if not lengths:
        return view
    times, most = kv.cut_pays(tokens) if tokens <= SEVERAL else (1, 1)
    filled, empty = filled_slots(mask), (~mask.any(dim=2)).to(torch.int32).sum(dtype=torch.int32)
    slots, left = filled + empty, torch.ones((), dtype=torch.bool)
    for group in groups(tokens)[:-1]:
        filled = torch.maximum(filled, filled_slots(mask[:, :, group]) + (tokens - group.stop))
    chosen = []
    for length in lengths:
        holds = (filled <= length) & (slots * most >= length * times)
        chosen.append(left & holds)
        left = left & ~holds
    bias = mask.to(torch.int8) if tokens > SEVERAL else view.bias
    return FilledView(
        view.rotation, bias, None, view.length, (*chosen, left), (*lengths, view.length)
    )


@dataclass(frozen=True)
class FilledView(View):
    """What full attention sees: ``lengths[i]`` slots where ``chosen[i]`` holds, which one does.

    Of a prefill, ``bias`` is the mask, 1 where a token sees a slot: as floats it takes 134 MB for 1024
    tokens and 32771 slots. XNNPACK takes no booleans, so they are int8: then it has a branch as a whole,
    which runs in the order in which it is written, and the scores of a few tokens at once are in memory.
    """

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
        """Attention over the first ``length`` slots, as a branch, of some tokens after the others.

        Of as many as leave the caches on the left of the products: then they are not copied into another
        order, and the scores of all others need not be in memory.
        """
        tokens = queries.shape[1]
        met = [(slice(0, tokens), length)]
        if length < self.length:
            met = [(group, length - tokens + group.stop) for group in groups(tokens)]
        counts = "_".join(str(slots) for _, slots in met)
        builder = StableHLOCompositeBuilder(CHOICE_PREFIX + counts, {})
        queries, bias, *tensors = builder.mark_inputs(queries, self.bias, *kv.tensors())
        kv = kv.with_tensors(*tensors)
        rows = FEW_ROWS if length <= LONG else FEW_ROWS // 2
        size = rows // (queries.shape[2] // kv.keys.shape[1])
        attended = [
            attend(queries[:, some], seen, replace(self, bias=as_bias(bias[:, :, some, :slots])))
            for group, slots in met
            for seen in [self._seen(kv, slots, tokens)]
            for some in in_pieces(group, size)
        ]
        whole = attended[0] if len(attended) == 1 else torch.cat(attended, dim=1)
        marked: Tensor = builder.mark_outputs(whole)
        return marked

    def _seen(self, kv: Kv, slots: int, tokens: int) -> Attended:
        """The first ``slots`` of ``kv``, for a call of so many tokens."""
        if slots == self.length:
            return kv
        first = FirstSlots(kv, slots)
        return first.at_once() if tokens > SEVERAL else first


@dataclass(frozen=True)
class FirstSlots:
    """The first slots of caches. Keys are cut out to be multiplied, and then values in the same memory."""

    kv: Kv
    length: int

    @property
    def keys(self) -> Tensor:
        """See :class:`Attended`."""
        return self.at_once().keys

    def at_once(self) -> Kv:
        """Both, for calls that multiply them many times."""
        return self.kv.first(self.length).readable()

    def scores(self, rows: Tensor) -> Tensor:
        """See :class:`Attended`."""
        return self.at_once().scores(rows)

    def mixed(self, probabilities: Tensor) -> Tensor:
        """See :class:`Attended`."""
        return self.at_once().mixed(probabilities)


def as_bias(seen: Tensor) -> Tensor:
    """A mask of int8 as what is added to scores; a bias as it is."""
    return (1 - seen.to(torch.float32)) * MASKED_SCORE if seen.dtype is torch.int8 else seen
