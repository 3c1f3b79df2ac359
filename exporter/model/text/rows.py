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
class KvRows:
    """The caches of one layer, of each of B sequences."""

    rows: tuple[Kv, ...]

    def written(self, keys: Tensor, values: Tensor, slot: Tensor) -> KvRows:
        """The caches with T new entries each: keys and values ``[B, T, K, D]``, first slots int32 ``[B]``."""
        new = zip(
            self.rows,
            keys.chunk(len(self.rows)),
            values.chunk(len(self.rows)),
            slot.unbind(0),
            strict=True,
        )
        return KvRows(tuple(kv.written(k, v, first) for kv, k, v, first in new))


@dataclass(frozen=True)
class ViewRows:
    """What the tokens of each of B sequences see."""

    rotation: Rotation
    rows: tuple[View, ...]

    @staticmethod
    def of_all(rows: Sequence[View]) -> ViewRows:
        """The views of single sequences, together."""
        rotation = Rotation(
            torch.cat([view.rotation.cos for view in rows]),
            torch.cat([view.rotation.sin for view in rows]),
        )
        return ViewRows(rotation, tuple(rows))

    def of(self, kv: KvRows) -> KvRows:
        """The slots that each sequence sees of its caches."""
        return KvRows(tuple(view.of(row) for view, row in zip(self.rows, kv.rows, strict=True)))

    def attend(self, queries: Tensor, kv: KvRows) -> Tensor:
        """Attention of ``queries`` ``[B, T, N, D]`` over what :meth:`of` gave; ``[B, T, N * D]``."""
        parts = zip(self.rows, queries.chunk(len(self.rows)), kv.rows, strict=True)
        return torch.cat([view.attend(one, row) for view, one, row in parts])


@dataclass(frozen=True)
class StepRows:
    """What one forward pass of B sequences gives back."""

    caches: dict[int, KvRows]
    logits: Tensor  # [B, T, V], softcapped
    hidden: Tensor  # [B, T, H], after the final norm
