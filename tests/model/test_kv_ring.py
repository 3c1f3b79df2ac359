"""Rings in torch: tokens see what they would see of caches that hold everything, or the call fails."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from exporter.contract.caches import KvCache
from exporter.contract.caches import Ring as RingSize
from exporter.contract.text import Contract
from exporter.model.text.kv import Kv
from exporter.model.text.kv_int8 import Int8Kv, KvScales
from exporter.model.text.kv_ring import Ring, in_ring
from exporter.model.text.layers import Rotation
from exporter.model.text.pieces import view_prefilled

HEADS, WIDTH, QUERIES = 2, 4, 4
LENGTH, WINDOW = 160, 9
SIZE = RingSize(turn=21, overhang=3)
PREFILL = 32
"""More than a turn."""
PIECES = (PREFILL, 12, 5)
"""Tokens that attend at once."""
GARBAGE = 37.0

TOLERANCE = 1e-5
"""Sums of other lengths, in float32, of numbers around 1."""


@dataclass
class Sides:
    """The same sequence in plain caches and in a ring; a conversation may end and another begin."""

    plain: Kv
    ring: Kv
    source: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(3))
    position: int = 0
    written: int = 0

    def entries(self, tokens: int) -> tuple[Tensor, Tensor]:
        shape = (1, tokens, HEADS, WIDTH)
        keys, values = (torch.randn(shape, generator=self.source) for _ in range(2))
        return keys, values

    def positions(self, tokens: int) -> Tensor:
        return torch.arange(self.position, self.position + tokens, dtype=torch.int32)

    def step(self, tokens: int, accepted: int) -> None:
        """A decode or a verify, of which some tokens stay."""
        keys, values = self.entries(tokens)
        positions, queries = self.positions(tokens), self._queries(tokens)
        mask, rotation = seen(positions), Rotation(positions, positions)
        found = []
        for kv in (self.plain, self.ring):
            assured = kv.assured(positions[0], WINDOW - 1)
            view = assured.view_written(rotation, mask, positions, WINDOW)
            after = assured.written(keys, values, positions[0])
            found.append((after, view.attend(queries, view.of(after))))
        self._compare(found, self.written, self.position + tokens)
        self.position += accepted

    def prefill(self, tokens: int) -> None:
        """A prefill with padding behind."""
        keys, values = self.entries(PREFILL)
        positions = nn.functional.pad(self.positions(tokens), (0, PREFILL - tokens))
        mask = seen(positions)
        mask[:, :, tokens:] = False
        end, found = torch.tensor(self.position + tokens, dtype=torch.int32), []
        queries, rotation = self._queries(PREFILL), Rotation(positions, positions)
        some = PIECES[self.position % len(PIECES)]
        for kv, size in ((self.plain, PREFILL), (self.plain, some), (self.ring, some)):
            assured = kv.assured(positions[0], WINDOW - 1)
            view = view_prefilled(assured, size, rotation, mask, positions, WINDOW)
            after = assured.prefilled(keys, values, positions[0], end)
            found.append((after.written, view.attend(queries, view.of(after.shown))[:, :tokens]))
        assert (found[1][1] - found[0][1]).abs().max() <= TOLERANCE
        del found[1]
        self._compare(found, self.written, self.position + tokens)
        self.position += tokens

    def draft(self) -> None:
        """What the drafter sees: the window and one more, without writing."""
        positions = self.positions(1) - 1
        queries, rotation, found = self._queries(1), Rotation(positions, positions), []
        for kv in (self.plain, self.ring):
            view = kv.view_latest(rotation, seen(positions), positions, WINDOW + 1)
            found.append((kv, view.attend(queries, view.of(kv))))
        self._compare(found, self.written, self.written)

    def _queries(self, tokens: int) -> Tensor:
        return torch.randn(1, tokens, QUERIES, WIDTH, generator=self.source)

    def _compare(self, found: list[tuple[Kv, Tensor]], *written: int) -> None:
        (self.plain, expected), (self.ring, ours) = found
        assert (ours - expected).abs().max() <= TOLERANCE
        self.written = max(written)


def seen(positions: Tensor) -> Tensor:
    """The engine's mask."""
    return torch.arange(LENGTH).reshape(1, 1, 1, -1) <= positions.reshape(1, 1, -1, 1)


def sides(kind: str) -> Sides:
    """With something that an earlier text left behind."""

    def made(slots: int) -> Kv:
        keys = torch.full((1, HEADS, slots, WIDTH), GARBAGE)
        values = keys.transpose(2, 3).clone()
        if kind == "float32":
            return Kv(keys, values)
        return Int8Kv(keys.to(torch.int8), values.to(torch.int8), scales)

    scales = KvScales(WIDTH)
    for parameter in scales.parameters():
        nn.init.constant_(parameter, 0.03)
        parameter.requires_grad = False
    held = torch.zeros(1, 1, 1, SIZE.slots, dtype=torch.int32)
    return Sides(made(LENGTH), in_ring(made(SIZE.slots), Ring(held, SIZE.turn)))


def agreed() -> Contract:
    caches = (KvCache(0, HEADS, WIDTH, sliding=True), KvCache(1, HEADS, WIDTH, sliding=False))
    return Contract(8, 2, 1, 8, WINDOW, LENGTH, None, (PREFILL,), 3, caches, (0, 1), ring=SIZE)


@pytest.mark.parametrize("kind", ["float32", "int8"])
@settings(max_examples=10, deadline=None)
@given(choice=st.randoms(use_true_random=True))
def test_a_ring_shows_what_plain_caches_show(kind: str, choice: random.Random) -> None:
    """Any order of prefills, steps with rejected drafts, drafts, rewinds and new conversations."""
    both, contract = sides(kind), agreed()
    for _ in range(60):
        room = LENGTH - both.position
        action = choice.choice(["prefill", "decode", "verify", "verify", "draft", "return"])
        if action == "prefill" and room:
            both.prefill(choice.randint(1, min(PREFILL, room)))
        elif action in ("decode", "verify") and room > SIZE.overhang:
            tokens = 1 if action == "decode" else 1 + SIZE.overhang
            both.step(tokens, choice.randint(1, tokens))
        elif action == "draft" and both.position:
            both.draft()
        elif action == "return":
            first = contract.earliest_return(both.written)
            both.position = choice.choice([0, *range(first, both.position + 1)])
            both.written = 0 if both.position == 0 else both.written


def test_what_is_overwritten_is_not_gone_on_from() -> None:
    both, contract = sides("float32"), agreed()
    for _ in range(3):
        both.prefill(PREFILL)
    first = contract.earliest_return(both.written)
    assert both.written - SIZE.turn < first < both.written
    both.position = first
    both.draft()
    both.position = first - 1
    with pytest.raises(IndexError):
        both.draft()
    both.position = first - 3  # the target sees two tokens fewer of the past than the drafter
    with pytest.raises(IndexError):
        both.step(1, 1)
    with pytest.raises(IndexError):
        both.prefill(5)
    both.position = 0
    both.prefill(5)


def test_the_caches_of_a_ring_contract() -> None:
    contract = agreed()
    shapes = {name: spec.shape for name, spec in contract.kv_specs().items()}
    assert shapes["kv_cache_k_0"] == (1, HEADS, SIZE.slots, WIDTH)
    assert shapes["kv_cache_v_1"] == (1, HEADS, WIDTH, LENGTH)
    assert shapes["kv_cache_k_positions"] == (1, 1, 1, SIZE.slots)
    assert "kv_cache_k_positions" not in contract.kv_specs((1,))
