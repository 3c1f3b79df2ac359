"""The KV caches of a layer, and what the tokens of one call see of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice
from torch import Tensor

from exporter.config import Rope
from exporter.model.layers import MASKED_SCORE, Rotation
from exporter.model.slots import stretch

LENGTH_MULTIPLE = 16
"""A stretch of slots is rounded up to this, so that kernels meet whole tiles."""


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
        return self._updated(keys.permute(0, 2, 1, 3), values.permute(0, 2, 3, 1), slot)

    def _updated(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """Write ``keys`` ``[1, K, T, D]`` and ``values`` ``[1, K, D, T]`` at ``slot``."""
        zero = torch.zeros((), dtype=torch.int32)
        return Kv(
            dynamic_update_slice(self.keys, keys, [zero, zero, slot, zero]),
            dynamic_update_slice(self.values, values, [zero, zero, zero, slot]),
        )

    def written_padded(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """The same for entries of which the last ones may stick out past the end of the caches.

        The engine pads a prompt to the length of a prefill signature. Near the end of the context
        the padding does not fit, and a plain update slice would move its start back and overwrite
        good entries. So the block is written where it fits, its front refilled with what is there:
        4 entries ``a b . .`` (two of them padding) for slot 6 of 8 are written to slots 4 to 7 as
        ``old[4] old[5] a b``.
        """
        tokens, slots = keys.shape[1], self.keys.shape[2]
        first = torch.clamp(slot + tokens, max=slots) - tokens
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

    def rotation(self, positions: Tensor, rope: Rope) -> Rotation:
        """The rotation of these caches' heads at ``positions`` int32 ``[T]``."""
        return Rotation.at(positions, rope, self.keys.shape[-1])

    def scores(self, rows: Tensor) -> Tensor:
        """Products of ``rows`` ``[1, K, R, D]`` with the keys; ``[1, K, R, S]``."""
        return rows @ self.keys.transpose(2, 3)

    def mixed(self, probabilities: Tensor) -> Tensor:
        """The values weighed by ``probabilities`` ``[1, K, R, S]``; ``[1, K, R, D]``."""
        return probabilities @ self.values.transpose(2, 3)

    def view_all(self, rotation: Rotation, mask: Tensor) -> View:
        """What full attention sees of these caches; see :meth:`View.of_all`."""
        return View.of_all(rotation, mask)

    def view_latest(self, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int) -> View:
        """What sliding attention sees of these caches; see :meth:`View.of_latest`."""
        return View.of_latest(rotation, mask, newest, reach)

    def stretch(self, start: Tensor, length: int) -> Kv:
        """The ``length`` slots from ``start`` (int32 scalar tensor) on."""
        return Kv(stretch(self.keys, start, 2, length), stretch(self.values, start, 3, length))


@dataclass(frozen=True)
class View:
    """What the tokens of one call see of the caches of one attention kind.

    A sliding layer sees the last few slots only, so it is given just those: over a cache of 4096
    slots with a window of 512 its attention reads an eighth of the keys and values.
    """

    rotation: Rotation
    bias: Tensor  # [1, 1, T, S or length], 0 where a token sees a slot, else MASKED_SCORE
    start: Tensor | None  # first slot shown; None shows the whole cache
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
        tokens, slots = newest.shape[0], mask.shape[-1]
        length = -(-(reach + tokens - 1) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        numbers = torch.arange(min(length, slots), dtype=torch.int32).reshape(1, 1, 1, -1)
        start = None
        if length < slots:
            oldest = torch.clamp(newest[0] - (reach - 1), min=0)
            start = torch.clamp(oldest + length, max=slots) - length
            mask, numbers = stretch(mask, start, 3, length), numbers + start
        near = numbers >= (newest - (reach - 1)).reshape(1, 1, -1, 1)
        bias = torch.where(mask & near, 0.0, MASKED_SCORE)
        return View(rotation, bias, start, min(length, slots))

    def masked(self, scores: Tensor) -> Tensor:
        """``scores`` ``[1, N, T, S or length]`` with those of unseen slots out of the running."""
        return scores + self.bias

    def of(self, kv: Kv) -> Kv:
        """The slots of ``kv`` that :attr:`bias` is about."""
        return kv if self.start is None else kv.stretch(self.start, self.length)
