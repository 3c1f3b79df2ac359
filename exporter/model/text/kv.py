"""The KV caches of a layer, and what the tokens of one call see of them.

The number of slots S is in shapes only and nowhere else a constant of the graph, because the length of the
caches may be chosen when a bundle is loaded (see ``exporter.contract``). So where something must not pass
the end of a cache, its place follows from how many slots the mask says are filled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

import torch
from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice
from torch import Tensor

from exporter.checkpoints.architecture import Rope
from exporter.contract.caches import stretch_length
from exporter.model.text.layers import MASKED_SCORE, Rotation, attend, over_cache
from exporter.model.text.slots import stretch

PIECE = 128
"""Tokens of a prefill that attend at once in sliding layers; see ``exporter.model.text.pieces``."""


def filled_slots(mask: Tensor) -> Tensor:
    """How many slots hold a token that some token of the call sees; int32 scalar, at most S.

    Not the newest position plus one: at the end of its context the engine drafts and verifies past S.

    Args:
        mask: bool ``[1, 1, T, S]``; what a token sees are the slots up to its own.
    """
    return mask.any(dim=2).to(torch.int32).sum(dtype=torch.int32)


class Writable(Protocol):
    """The caches of a layer: of one sequence (:class:`Kv`) or of several."""

    def written(self, keys: Tensor, values: Tensor, slot: Tensor) -> Self:
        """The caches with new entries from ``slot`` on."""


KvT = TypeVar("KvT", bound=Writable)


class Sight(Protocol[KvT]):
    """What the tokens of one call see of such caches (:class:`View`, for one sequence)."""

    @property
    def rotation(self) -> Rotation:
        """The rotation of the tokens' queries."""

    def of(self, kv: KvT) -> KvT:
        """The slots of ``kv`` that are seen."""

    def attend(self, queries: Tensor, kv: KvT) -> Tensor:
        """Attention of ``queries`` ``[B, T, N, D]`` over slots seen; ``[B, T, N * D]``."""


@dataclass(frozen=True)
class Prefilled:
    """The caches of a layer after a prefill, and what the prefill's tokens attend to."""

    written: Kv
    shown: Kv


@dataclass(frozen=True)
class Kv:
    """The caches of one layer: keys ``[1, K, S, D]``, values ``[1, K, D, S]``."""

    keys: Tensor
    values: Tensor

    def written(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """The caches with T new entries from ``slot`` (int32 scalar tensor) on.

        Args:
            keys: ``[1, T, K, D]``.
            values: ``[1, T, K, D]``.
            slot: First slot written; at least T slots must follow it.
        """
        keys, values = self.coded(keys, values)
        return self._updated(keys.permute(0, 2, 1, 3), values.permute(0, 2, 3, 1), slot)

    def coded(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """New entries ``[1, T, K, D]`` as these caches store them."""
        return keys, values

    def _updated(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """Write ``keys`` ``[1, K, T, D]`` and ``values`` ``[1, K, D, T]`` at ``slot``."""
        zero = torch.zeros((), dtype=torch.int32)
        return replace(
            self,
            keys=dynamic_update_slice(self.keys, keys, [zero, zero, slot, zero]),
            values=dynamic_update_slice(self.values, values, [zero, zero, zero, slot]),
        )

    def written_padded(self, keys: Tensor, values: Tensor, slot: Tensor, filled: Tensor) -> Kv:
        """Write entries of which the last ones may be padding and stick out past the end of the cache.

        The engine pads a prompt to the length of a prefill signature. Near the end of the context
        the padding does not fit, and a plain update slice would move its start back and overwrite
        good entries. So the block is written where its last real token is its last entry, its front
        refilled with what is there: 4 entries ``a b . .`` (two of them padding) for slot 6 of 8 are
        written to slots 4 to 7 as ``old[4] old[5] a b``.

        Args:
            keys: ``[1, T, K, D]``.
            values: ``[1, T, K, D]``.
            slot: First slot written.
            filled: Slots that hold a token once the block is written.
        """
        tokens = keys.shape[1]
        keys, values = self.coded(keys, values)
        first = torch.clamp(filled - tokens, min=0)
        entries = torch.arange(tokens, dtype=torch.int32)
        moved = entries - (slot - first)  # entry of the block that goes to slot first + i
        source, old = torch.clamp(moved, min=0), self.stretch(first, tokens)
        is_new = (moved >= 0).reshape(1, 1, -1, 1)
        new_keys = keys.index_select(1, source).permute(0, 2, 1, 3)
        new_values = values.index_select(1, source).permute(0, 2, 3, 1)
        return self._updated(
            torch.where(is_new, new_keys, old.keys),
            torch.where(is_new.transpose(2, 3), new_values, old.values),
            first,
        )

    def prefilled(self, keys: Tensor, values: Tensor, slot: Tensor, filled: Tensor) -> Prefilled:
        """The caches with a prefill's entries; arguments as for :meth:`written_padded`."""
        written = self.written_padded(keys, values, slot, filled)
        return Prefilled(written, written)

    def assured(self, start: Tensor, reach: int) -> Kv:
        """These caches, if they still hold the ``reach`` positions before ``start`` (int32 scalar)."""
        return self

    def rotation(self, positions: Tensor, rope: Rope) -> Rotation:
        """The rotation of these caches' heads at ``positions`` int32 ``[T]``."""
        return Rotation.at(positions, rope, self.keys.shape[-1])

    def scores(self, rows: Tensor) -> Tensor:
        """Products of ``rows`` ``[1, K, R, D]`` with the keys; ``[1, K, R, S]``."""
        return over_cache(rows, self.keys)

    def mixed(self, probabilities: Tensor) -> Tensor:
        """The values weighed by ``probabilities`` ``[1, K, R, S]``; ``[1, K, R, D]``."""
        return over_cache(probabilities, self.values)

    def view_all(self, rotation: Rotation, mask: Tensor) -> View:
        """What full attention sees of these caches; see :meth:`View.of_all`."""
        return View.of_all(rotation, mask)

    def view_latest(self, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int) -> View:
        """What sliding attention sees of these caches; see :meth:`View.of_latest`."""
        return View.of_latest(rotation, mask, newest, reach)

    def view_written(self, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int) -> View:
        """What tokens see by sliding attention that are written first; as :meth:`view_latest`."""
        return self.view_latest(rotation, mask, newest, reach)

    def view_piece(
        self, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int, piece: range
    ) -> View:
        """What some of a prefill's tokens see of :attr:`Prefilled.shown`; as :meth:`view_latest`."""
        tokens = slice(piece.start, piece.stop)
        return self.view_latest(rotation, mask[:, :, tokens], newest[tokens], reach)

    def prefill_piece(self, tokens: int) -> int:
        """How many of a prefill's tokens attend at once in sliding layers."""
        return min(tokens, PIECE)

    def stretch(self, start: Tensor | int, length: int) -> Kv:
        """The ``length`` slots from ``start`` (int32 scalar tensor, or known when tracing) on."""
        if isinstance(start, int):
            keys, values = self.keys.narrow(2, start, length), self.values.narrow(3, start, length)
            return replace(self, keys=keys, values=values)
        return replace(
            self,
            keys=stretch(self.keys, start, 2, length),
            values=stretch(self.values, start, 3, length),
        )

    def first(self, length: int) -> Self:
        """The first ``length`` slots."""
        return replace(self, keys=self.keys[:, :, :length], values=self.values[..., :length])

    def cut_pays(self, tokens: int) -> tuple[int, int]:
        """Attention of so many tokens over the first slots pays if there are so many more: 8 to 3.

        Cutting copies the keys and values, which takes about as long as multiplying them by one token.
        """
        return (8, 3) if tokens == 1 else (5, 3)

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that attention reads."""
        return self.keys, self.values

    def with_tensors(self, keys: Tensor, values: Tensor) -> Kv:
        """This cache with others in the place of :meth:`tensors`."""
        return replace(self, keys=keys, values=values)

    def readable(self) -> Kv:
        """This cache in the form that several layers multiply with."""
        return self


@dataclass(frozen=True)
class View:
    """What the tokens of one call see of the caches of one attention kind.

    A sliding layer sees the last few slots only, so it is given just those: over a cache of 4096
    slots with a window of 512 its attention reads an eighth of the keys and values.
    """

    rotation: Rotation
    bias: Tensor  # [1, 1, T, S or length], 0 where a token sees a slot, else MASKED_SCORE
    start: Tensor | int | None  # first slot shown; None shows the whole cache
    length: int

    @staticmethod
    def of_all(rotation: Rotation, mask: Tensor) -> View:
        """What full attention sees: every slot that ``mask`` ``[1, 1, T, S]`` allows."""
        return View(rotation, torch.where(mask, 0.0, MASKED_SCORE), None, mask.shape[-1])

    @staticmethod
    def of_latest(rotation: Rotation, mask: Tensor, newest: Tensor, reach: int) -> View:
        """What sliding attention sees.

        The engine's mask says which slots are filled and not in a token's future; how far back a
        token sees follows from slot numbers, since slot s holds the token at position s.

        Args:
            rotation: Of the tokens' queries.
            mask: bool ``[1, 1, T, S]``, true where a token may attend.
            newest: int32 ``[T]``, the newest slot each token sees; they are consecutive.
            reach: How many slots back from ``newest``, itself included, a token sees.
        """
        slots = mask.shape[-1]
        length = min(stretch_length(reach, newest.shape[0]), slots)
        numbers = torch.arange(length, dtype=torch.int32).reshape(1, 1, 1, -1)
        start = None
        if length < slots:
            start = torch.clamp(filled_slots(mask) - length, min=0)
            mask, numbers = stretch(mask, start, 3, length), numbers + start
        near = numbers >= (newest - (reach - 1)).reshape(1, 1, -1, 1)
        bias = torch.where(mask & near, 0.0, MASKED_SCORE)
        return View(rotation, bias, start, length)

    def masked(self, scores: Tensor) -> Tensor:
        """``scores`` ``[1, N, T, S or length]`` in which unseen slots do not count."""
        return scores + self.bias

    def of(self, kv: Kv) -> Kv:
        """The slots of ``kv`` that :attr:`bias` is about, ready to be multiplied."""
        seen = kv if self.start is None else kv.stretch(self.start, self.length)
        return seen.readable()

    def attend(self, queries: Tensor, kv: Kv) -> Tensor:
        """Attention of ``queries`` ``[1, T, N, D]`` over what :meth:`of` gave; ``[1, T, N * D]``."""
        return attend(queries, kv, self)
