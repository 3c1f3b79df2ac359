"""Several sequences in one call: they share the matrices; each has its own caches and attention.

Sequences stand at different positions, so each writes to its own slots and sees its own stretch of
them. A cache per sequence, instead of one with a batch axis, keeps the update in place: a chain of
update slices on one tensor would copy all of it at every step. It also makes the caches those of
the signatures for one sequence, so that any of them can prefill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from exporter.model.text.kv import Kv, View
from exporter.model.text.layers import Rotation


@dataclass(frozen=True)
class BatchKv:
    """The caches of one layer, of each of B sequences."""

    sequences: tuple[Kv, ...]

    def written(self, keys: Tensor, values: Tensor, slot: Tensor) -> BatchKv:
        """The caches with T new entries each: keys and values ``[B, T, K, D]``, first slots int32 ``[B]``."""
        new = zip(
            self.sequences,
            keys.chunk(len(self.sequences)),
            values.chunk(len(self.sequences)),
            slot.unbind(0),
            strict=True,
        )
        return BatchKv(tuple(kv.written(k, v, first) for kv, k, v, first in new))


@dataclass(frozen=True)
class BatchView:
    """What the tokens of each of B sequences see."""

    rotation: Rotation
    sequences: tuple[View, ...]

    @staticmethod
    def of_all(views: Sequence[View]) -> BatchView:
        """The views of single sequences, together."""
        rotation = Rotation(
            torch.cat([view.rotation.cos for view in views]),
            torch.cat([view.rotation.sin for view in views]),
        )
        return BatchView(rotation, tuple(views))

    def of(self, kv: BatchKv) -> BatchKv:
        """The slots that each sequence sees of its caches."""
        return BatchKv(
            tuple(view.of(one) for view, one in zip(self.sequences, kv.sequences, strict=True))
        )

    def attend(self, queries: Tensor, kv: BatchKv) -> Tensor:
        """Attention of ``queries`` ``[B, T, N, D]`` over what :meth:`of` gave; ``[B, T, N * D]``."""
        parts = zip(self.sequences, queries.chunk(len(self.sequences)), kv.sequences, strict=True)
        return torch.cat([view.attend(own, seen) for view, own, seen in parts])


@dataclass(frozen=True)
class BatchStep:
    """What one forward pass of B sequences gives back."""

    caches: dict[int, BatchKv]
    logits: Tensor  # [B, T, V], softcapped
    hidden: Tensor  # [B, T, H], after the final norm
