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

import torch
from torch import Tensor, nn

from exporter.model.text.kv import Kv

LARGEST_CODE = 127
"""The largest code of either sign: codes are symmetric, and what is out of range is clamped to it."""


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

    def tensors(self) -> tuple[Tensor, ...]:
        """See :meth:`Kv.tensors`."""
        return self.keys, self.values, self.scales.keys, self.scales.values

    def with_tensors(self, keys: Tensor, values: Tensor, *scales: Tensor) -> Kv:
        """See :meth:`Kv.with_tensors`."""
        return replace(self, keys=keys, values=values, scales=Scales(*scales))

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


def codes(entries: Tensor, scales: Tensor) -> Tensor:
    """Entries ``[1, T, K, D]`` as int8 codes of ``scales`` ``[1, 1, 1, D]``."""
    steps = torch.round(entries / scales)
    return torch.clamp(steps, -LARGEST_CODE, LARGEST_CODE).to(torch.int8)
