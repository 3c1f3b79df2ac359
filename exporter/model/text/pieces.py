"""Sliding attention of a long prefill, of some tokens after the others.

A token sees the last ``window`` tokens. All 1024 of a prefill together see 1535, each of them a third of
that; 128 of them see 639. So attention in pieces takes less than half the time, and a twentieth of the
memory for scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from exporter.model.text.kv import Kv, View
from exporter.model.text.layers import Rotation


def view_prefilled(
    kv: Kv, size: int, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int
) -> View:
    """What a prefill's tokens see of :attr:`Prefilled.shown` by sliding attention.

    Args:
        kv: The caches before they are written.
        size: How many tokens attend at once.
        rotation: Of the tokens' queries.
        mask: bool ``[1, 1, T, S]``, true where a token may attend.
        newest: int32 ``[T]``, the newest position each token sees; padding has any.
        reach: How many positions back from ``newest``, itself included, a token sees.
    """
    tokens = newest.shape[0]
    pieces = [range(first, min(first + size, tokens)) for first in range(0, tokens, size)]
    views = tuple(kv.view_piece(rotation, mask, newest, reach, piece) for piece in pieces)
    return views[0] if len(views) == 1 else PiecesView(rotation, mask, None, 0, views, size)


@dataclass(frozen=True)
class PiecesView(View):
    """What each ``size`` tokens of a call see is one of ``views``, in order."""

    views: tuple[View, ...]
    size: int

    def of(self, kv: Kv) -> Kv:
        """The caches as they are: every piece cuts its own slots."""
        return kv

    def attend(self, queries: Tensor, kv: Kv) -> Tensor:
        """See :meth:`View.attend`."""
        attended = []
        for index, view in enumerate(self.views):
            first = index * self.size
            attended.append(view.attend(queries[:, first : first + self.size], view.of(kv)))
        return torch.cat(attended, dim=1)
