"""Caches that are used in turn, as caches that hold the whole text, and the other way round.

The rungs compare and replay caches in which slot s holds the token at position s. A ring has only the
last tokens in it, each somewhere; so what a text writes is copied out of it while it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.contract import names
from exporter.contract.text import Contract
from runtime_py.graph_executor import GraphExecutor
from runtime_py.loop.executor import TargetOutput

Caches = Mapping[str, NDArray[Any]]
"""KV caches by the contract's tensor names: keys ``[1, K, S, D]``, values ``[1, K, D, S]``; floats, or
codes."""


class PlainCopy:
    """Caches of a text in which slot s holds position s, copied call by call where they are a ring.

    Args:
        executor: What reads the text.
        cache: Its caches.
        before: What positions hold that are never copied; zeros by default.
    """

    def __init__(
        self, executor: GraphExecutor[Any], cache: object, before: Caches | None = None
    ) -> None:
        self._executor, self._cache, self._agreed = executor, cache, executor.contract
        self._plain: dict[str, NDArray[Any]] = {}
        if self._agreed.ring is not None:
            specs = replace(self._agreed, ring=None).kv_specs()
            made = before or {n: np.zeros(s.shape, s.dtype.value) for n, s in specs.items()}
            self._plain = {name: array.copy() for name, array in made.items()}

    def after(self, start: int, step: TargetOutput) -> None:
        """Copy what a call has written."""
        self.take(start, start + len(step.hidden))

    def take(self, start: int, end: int) -> None:
        """Copy the positions from ``start`` to ``end``, as far as they are there."""
        if not self._plain:
            return
        caches, every = self._executor.read_cache(self._cache), np.arange(start, end)
        places = _places(caches, end)[every]
        for kv in self._agreed.kv_caches:
            there = places >= 0 if kv.sliding else np.ones(len(every), bool)
            found, positions = (places if kv.sliding else every)[there], every[there]
            keys, values = names.key_cache(kv.layer), names.value_cache(kv.layer)
            self._plain[keys][:, :, positions] = caches[keys][:, :, found]
            self._plain[values][..., positions] = caches[values][..., found]

    def caches(self) -> Caches:
        """All that was copied; if nothing had to be, the caches as they are now."""
        return self._plain or self._executor.read_cache(self._cache)


def _places(caches: Caches, end: int) -> NDArray[np.int64]:
    """The slot of every position below ``end``; -1 where the ring does not hold it."""
    held = caches[names.held_positions()].reshape(-1).astype(np.int64) - 1
    places = np.full(end, -1)
    there = (held >= 0) & (held < end)
    places[held[there]] = np.flatnonzero(there)
    return places


def in_turn(agreed: Contract, plain: Caches, count: int) -> Caches:
    """A bundle's caches with the first ``count`` tokens in them; of the caches that are given."""
    if agreed.ring is None:
        return plain
    ring, made = agreed.ring, dict(plain)
    positions = np.arange(max(0, count - ring.turn), count)
    slots = positions % ring.turn
    for kv in agreed.kv_caches:
        keys, values = names.key_cache(kv.layer), names.value_cache(kv.layer)
        if not kv.sliding or keys not in plain:
            continue
        _, heads, _, width = plain[keys].shape
        made[keys] = np.zeros((1, heads, ring.slots, width), plain[keys].dtype)
        made[values] = np.zeros((1, heads, width, ring.slots), plain[values].dtype)
        made[keys][:, :, slots] = plain[keys][:, :, positions]
        made[values][..., slots] = plain[values][..., positions]
    held = np.zeros((1, 1, 1, ring.slots), np.int32)
    held[..., slots] = positions + 1
    return made | {names.held_positions(): held}
