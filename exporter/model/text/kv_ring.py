"""KV caches of sliding layers that are used in turn: a ring, however long the conversation.

A sliding layer sees the last ``window`` tokens and no more, so its caches need not be as long as the
context. The token at position p goes to slot ``p mod turn``; what is overwritten is too old to be seen.
Which token a slot holds is written down beside the caches (:attr:`Ring.held`), for three reasons:

- A step of several tokens is one update of consecutive slots, in place. It may begin near the end of a
  turn; its last tokens then lie behind the turn, in slots that no other token is meant for, and are found
  there. ``turn`` 8, tokens at 6, 7, 8 and 9: slots 6, 7, 8 and 9. The next step at 10 begins at slot 2.
- Rejected drafts and what stood behind a rewind are told apart from what is seen.
- Whoever goes back so far that what is seen there has been overwritten is refused. No text is wrong.

All sliding layers write the same tokens to the same slots, so they share one :class:`Ring`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice
from torch import Tensor

from exporter.contract.caches import LENGTH_MULTIPLE
from exporter.model.text.kv import Kv, Prefilled, View
from exporter.model.text.kv_int8 import Int8Kv
from exporter.model.text.layers import MASKED_SCORE, Rotation


@dataclass(frozen=True)
class Ring:
    """Which token each slot holds.

    ``held`` int32 ``[1, 1, 1, slots]`` is a token's position plus one; 0 where there is none. ``turn`` is
    how many slots are used in turn; those behind it take the end of a step. ``assurance`` is 0; what is
    written depends on it, and computing it fails where the ring does not hold what it must.
    """

    held: Tensor
    turn: int
    assurance: Tensor | None = None

    def assured(self, start: Tensor, reach: int) -> Ring:
        """This ring, if it still holds the ``reach`` positions before ``start``, or all there are.

        If not, the graph fails while it runs: it looks up what is not there. ``held`` becomes a copy: an
        engine gives one buffer as what is read and what is written, so nothing may be read from it once
        something is written.
        """
        held = (self.held <= start) & (self.held > torch.clamp(start - reach, min=0))
        count = held.to(torch.int32).sum(dtype=torch.int32)
        missing = (count < torch.clamp(start, max=reach)).to(torch.int32)
        zero = torch.zeros(1, dtype=torch.int32).index_select(0, missing.reshape(1))
        return replace(self, held=self.held + zero.reshape(1, 1, 1, 1), assurance=zero.reshape(()))

    def place(self, start: Tensor) -> Tensor:
        """The slot of position ``start`` (int32 scalar)."""
        assert self.assurance is not None
        return torch.remainder(start + self.assurance, self.turn)

    def after_step(self, start: Tensor, tokens: int) -> Ring:
        """With tokens from position ``start`` on, written one behind the other from its place on."""
        new = (torch.arange(tokens, dtype=torch.int32) + (start + 1)).reshape(1, 1, 1, -1)
        zero = torch.zeros((), dtype=torch.int32)
        at = [zero, zero, zero, self.place(start)]
        return replace(self, held=dynamic_update_slice(self._before(start), new, at))

    def newest(self, end: Tensor) -> Tensor:
        """Of the positions below ``end``, the last one whose place each slot is; int32 ``[slots]``.

        Negative where there is none, and behind the turn.
        """
        assert self.assurance is not None
        end = end + self.assurance
        slots = torch.arange(self.held.shape[-1], dtype=torch.int32)
        last = (end - 1) - torch.remainder((end - 1) - slots, self.turn)
        return torch.where(slots < self.turn, last, -1)

    def after_prefill(self, start: Tensor, end: Tensor) -> Ring:
        """With the positions from ``start`` to ``end``, each in its place, as many as a turn holds."""
        newest = self.newest(end).reshape(1, 1, 1, -1)
        held = torch.where(newest >= start, newest + 1, self._before(start))
        return replace(self, held=held)

    def seen(self, newest: Tensor, reach: int) -> Tensor:
        """Whether tokens see a slot, bool ``[1, 1, T, slots]``.

        Args:
            newest: int32 ``[T]``, the newest position each token sees.
            reach: How many positions back from ``newest``, itself included.
        """
        last = newest.reshape(1, 1, -1, 1) + 1
        return (self.held <= last) & (self.held > torch.clamp(last - reach, min=0))

    def _before(self, start: Tensor) -> Tensor:
        """``held`` without what stands at ``start`` and behind."""
        return torch.where(self.held > start, 0, self.held)


@dataclass(frozen=True)
class RingKv(Kv):
    """The caches of one sliding layer: keys ``[1, K, slots, D]``, values ``[1, K, D, slots]``."""

    ring: Ring

    def written(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """See :meth:`Kv.written`; ``slot`` is the first token's position."""
        stored = super().written(keys, values, self.ring.place(slot))
        ring = self.ring.after_step(slot, keys.shape[1])
        return replace(self, keys=stored.keys, values=stored.values, ring=ring)

    def prefilled(self, keys: Tensor, values: Tensor, slot: Tensor, filled: Tensor) -> Prefilled:
        """See :meth:`Kv.prefilled`; what is shown is the ring as it was, then the new entries.

        Padding is not written: each slot takes the last real token whose place it is, or keeps what it has.
        """
        keys, values = self.coded(keys, values)
        shown = replace(
            self,
            keys=torch.cat([self.keys, keys.permute(0, 2, 1, 3)], dim=2),
            values=torch.cat([self.values, values.permute(0, 2, 3, 1)], dim=3),
        )
        assert self.ring.assurance is not None
        old = shown.stretch(self.ring.assurance, self.keys.shape[2])  # not self: see Ring.assured
        newest = self.ring.newest(filled)
        source = torch.clamp(newest - slot, 0, keys.shape[1] - 1)
        is_new = (newest >= slot).reshape(1, 1, -1, 1)
        new_keys = keys.index_select(1, source).permute(0, 2, 1, 3)
        new_values = values.index_select(1, source).permute(0, 2, 3, 1)
        written = replace(
            self,
            keys=torch.where(is_new, new_keys, old.keys),
            values=torch.where(is_new.transpose(2, 3), new_values, old.values),
            ring=self.ring.after_prefill(slot, filled),
        )
        return Prefilled(written, shown.readable())

    def assured(self, start: Tensor, reach: int) -> Kv:
        """See :meth:`Kv.assured`; if they do not, the graph fails while it runs."""
        return replace(self, ring=self.ring.assured(start, reach))

    def view_latest(self, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int) -> View:
        """See :meth:`Kv.view_latest`; fails as :meth:`assured` does."""
        ring = self.ring.assured(newest[0] + 1, reach)
        return _view(rotation, ring.seen(newest, reach))

    def view_written(self, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int) -> View:
        """See :meth:`Kv.view_written`."""
        written = self.ring.after_step(newest[0], newest.shape[0])
        return _view(rotation, written.seen(newest, reach))

    def view_piece(
        self, rotation: Rotation, mask: Tensor, newest: Tensor, reach: int, piece: range
    ) -> View:
        """See :meth:`Kv.view_piece`: the ring as it was, if they can see it, then the prefill's tokens."""
        slots, earliest = self.ring.held.shape[-1], piece.start - (reach - 1)
        first = max(earliest // LENGTH_MULTIPLE * LENGTH_MULTIPLE, 0)
        tokens = torch.arange(piece.start, piece.stop, dtype=torch.int32)
        entries = torch.arange(first, piece.stop, dtype=torch.int32)
        age = tokens.reshape(1, 1, -1, 1) - entries.reshape(1, 1, 1, -1)
        seen = (age >= 0) & (age < reach)
        if earliest < 0:
            positions = newest[0] + tokens  # padding has none of its own
            before = self.ring.seen(positions, reach) & (self.ring.held <= newest[0])
            return _view(rotation, torch.cat([before, seen], dim=3), 0)
        return _view(rotation, seen, slots + first)


@dataclass(frozen=True)
class Int8RingKv(RingKv, Int8Kv):
    """The caches of one sliding layer as int8 codes."""


def in_ring(kv: Kv, ring: Ring) -> Kv:
    """Caches of a sliding layer as part of ``ring``."""
    if isinstance(kv, Int8Kv):
        return Int8RingKv(keys=kv.keys, values=kv.values, scales=kv.scales, ring=ring)
    return RingKv(keys=kv.keys, values=kv.values, ring=ring)


def _view(rotation: Rotation, seen: Tensor, start: int | None = None) -> View:
    return View(rotation, torch.where(seen, 0.0, MASKED_SCORE), start, seen.shape[-1])
