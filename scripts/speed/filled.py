"""Calls of a bundle's sections with as many slots filled as one likes.

What is filled is told by the mask and, where caches of sliding layers are rings, by which token each slot
holds; caches themselves may hold anything, kernels take the same time.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from exporter.bundle.reader import open_bundle
from exporter.bundle.stored_contract import stored_contract
from exporter.contract.names import DRAFT, INPUT_POS, MASK, Section, held_positions
from exporter.contract.text import Ring
from runtime_py.litert.hardware import cpu_options
from runtime_py.litert.resized_graph import Resizing
from speed.litert import LitertFile


class FilledCall:
    """One signature of a bundle that is opened with ``slots`` slots; calling it runs it.

    Args:
        path: A bundle whose cache length is chosen at load.
        signature: Of its target, or of its drafter.
        slots: Of the caches that grow.
        threads: That XNNPACK may use.
    """

    def __init__(self, path: Path, signature: str, slots: int, threads: int) -> None:
        bundle = open_bundle(path)
        manifest, section = bundle.manifest(), _section(signature)
        entry = bundle.model(section)
        if manifest is None or entry is None:
            raise click.ClickException(f"{path} is none of ours, or has no {section.value}")
        agreed = stored_contract(path, manifest)
        if agreed.placeholder is None:
            raise click.ClickException(f"{path} was made with --fixed-cache-length")
        edit = entry.graph_bytes, Resizing(agreed.placeholder, slots).apply
        options = cpu_options(threads)
        self._file = LitertFile(path, options, begin=entry.begin, nbytes=entry.nbytes, edit=edit)
        self._call, self._agreed, self._drafts = (
            self._file.call(signature),
            agreed,
            signature == DRAFT,
        )

    def fill(self, filled: int) -> bool:
        """Let the last token of the call see ``filled`` slots; False if there are fewer, or more tokens."""
        inputs = self._call.inputs
        mask = inputs[MASK].values
        tokens, slots = mask.shape[2:]
        if not tokens <= filled <= slots:
            return False
        newest = np.arange(filled - tokens, filled)
        mask[...] = np.arange(slots) <= newest[:, None]
        positions = inputs[INPUT_POS].values
        positions[...] = newest[: positions.size]
        if self._agreed.ring is not None:
            written = filled if self._drafts else filled - tokens
            held = inputs[held_positions()].values
            held[...] = held_after(self._agreed.ring, written).reshape(held.shape)
        return True

    def __call__(self) -> None:
        self._call()


def held_after(ring: Ring, written: int) -> NDArray[np.int32]:
    """What a ring's tensor of positions is once ``written`` tokens have gone through, one at a time."""
    slots = np.arange(ring.slots)
    last = written - 1 - (written - 1 - slots) % ring.turn
    return np.where((slots < ring.turn) & (last >= 0), last + 1, 0).astype(np.int32)


def _section(signature: str) -> Section:
    return Section.MTP_DRAFTER if signature == DRAFT else Section.PREFILL_DECODE
