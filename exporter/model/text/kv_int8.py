"""KV caches of int8 codes: a quarter of the memory.

A code stands for code times scale, and every channel of a head (one of D) has a scale of its own, chosen
on a text before the graphs are bound and constant from then on. What is written is divided by the
scales and rounded. What is read never becomes whole floats again: the codes of the slots that are seen
are cast, and the scales go to the queries and to the mixed values, which are small. So a scale per
channel costs what a single one would.

The KV heads of a layer share their scales, as they share the weights of their norms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor, nn

from exporter.model.text.kv import Kv
from exporter.model.text.layers import over_cache

LARGEST_CODE = 127
"""The largest code of either sign: codes are symmetric, and what is out of range is clamped to it."""


CAST_FOR_FEW, CAST_AT_ONCE, FEW = 64, 128, 64
"""Channels of whole caches that are in memory as floats at once: with ``FEW`` rows or less, and with more.

Of 32,000 slots, 64 channels are 8 MB, which a processor's cache may hold until they are multiplied.
"""


class KvScales(nn.Module):
    """Scales of one layer's caches: ``keys`` and ``values`` ``[1, 1, 1, D]``.

    They are parameters, so that they are inputs of a lowered graph as weights are.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.ones(1, 1, 1, head_dim))
        self.values = nn.Parameter(torch.ones(1, 1, 1, head_dim))


@dataclass(frozen=True)
class Scales:
    """As of :class:`KvScales`, of whatever tensors."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class Int8Kv(Kv):
    """The caches of one layer as int8 codes; shapes as in :class:`Kv`."""

    scales: KvScales | Scales

    def coded(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Kv.coded`."""
        return codes(keys, self.scales.keys), codes(values, self.scales.values)

    def cut_pays(self, tokens: int) -> tuple[int, int]:
        """See :meth:`Kv.cut_pays`: what is cut is cast anyway."""
        return 1, 1

    def tensors(self) -> tuple[Tensor, ...]:
        """See :meth:`Kv.tensors`."""
        return self.keys, self.values, self.scales.keys, self.scales.values

    def with_tensors(self, keys: Tensor, values: Tensor, *scales: Tensor) -> Kv:
        """See :meth:`Kv.with_tensors`."""
        return replace(self, keys=keys, values=values, scales=Scales(*scales))

    def scores(self, rows: Tensor) -> Tensor:
        """See :meth:`Kv.scores`: few channels are cast at once, however long the caches are."""
        rows, count = rows * self.scales.keys, cast_at_once(rows)
        parts = [
            over_cache(
                rows[..., first : first + count], self.keys[..., first : first + count].float()
            )
            for first in range(0, rows.shape[-1], count)
        ]
        return reduce(torch.add, parts)

    def mixed(self, probabilities: Tensor) -> Tensor:
        """See :meth:`Kv.mixed`; as :meth:`scores` does it."""
        count = cast_at_once(probabilities)
        parts = [
            over_cache(probabilities, self.values[:, :, first : first + count].float())
            for first in range(0, self.values.shape[2], count)
        ]
        return torch.cat(parts, dim=-1) * self.scales.values

    def readable(self) -> Kv:
        """See :meth:`Kv.readable`: cast once for all layers that read these caches."""
        return CastKv(self.keys.float(), self.values.float(), self.scales)


@dataclass(frozen=True)
class CastKv(Kv):
    """Codes as float32, still to be multiplied by their scales."""

    scales: KvScales | Scales

    def scores(self, rows: Tensor) -> Tensor:
        """See :meth:`Kv.scores`."""
        return super().scores(rows * self.scales.keys)

    def mixed(self, probabilities: Tensor) -> Tensor:
        """See :meth:`Kv.mixed`."""
        return super().mixed(probabilities) * self.scales.values


def cast_at_once(rows: Tensor) -> int:
    """How many channels are cast at once where ``rows`` ``[1, K, R, ...]`` meet caches of any length."""
    return CAST_FOR_FEW if rows.shape[2] <= FEW else CAST_AT_ONCE


def codes(entries: Tensor, scales: Tensor) -> Tensor:
    """Entries ``[1, T, K, D]`` as int8 codes of ``scales`` ``[1, 1, 1, D]``."""
    steps = torch.round(entries / scales)
    return torch.clamp(steps, -LARGEST_CODE, LARGEST_CODE).to(torch.int8)
