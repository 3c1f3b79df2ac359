"""Signatures of bundles with as many slots, and as many of them filled, as one likes.

What is filled is told by the mask and, where caches of sliding layers are rings, by which token each slot
holds; caches themselves may hold anything, kernels take the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from exporter.bundle.reader import BundleSection, open_bundle
from exporter.bundle.stored_contract import stored_contract
from exporter.contract.caches import Ring
from exporter.contract.names import DRAFT, INPUT_POS, MASK, Section, held_positions
from exporter.contract.text import Contract
from runtime_py.litert.hardware import cpu_options
from runtime_py.litert.resized_graph import Resizing
from speed.clocks import Call
from speed.litert import Edit, LitertFile, PreparedCall


@dataclass(frozen=True)
class SizedSection:
    """The section of a bundle that has a signature, to be opened with a number of slots."""

    signature: str
    path: Path
    entry: BundleSection
    agreed: Contract
    slots: int

    @classmethod
    def find(cls, path: Path, signature: str, slots: int) -> SizedSection:
        """In a bundle whose cache length is chosen at load.

        Raises:
            ClickException: It is another one.
        """
        bundle = open_bundle(path)
        section = Section.MTP_DRAFTER if signature == DRAFT else Section.PREFILL_DECODE
        manifest, entry = bundle.manifest(), bundle.model(section)
        if manifest is None or entry is None:
            raise click.ClickException(f"{path} is none of ours, or has no {section.value}")
        agreed = stored_contract(path, manifest)
        if agreed.placeholder is None:
            raise click.ClickException(f"{path} was made with --fixed-cache-length")
        return cls(signature, path, entry, agreed, slots)

    @property
    def edit(self) -> Edit:
        """What gives its graph the number of slots."""
        assert self.agreed.placeholder is not None
        return self.entry.graph_bytes, Resizing(self.agreed.placeholder, self.slots).apply

    def opened(self, threads: int) -> PreparedCall:
        """The signature, ready to run."""
        at = {"begin": self.entry.begin, "nbytes": self.entry.nbytes}
        file = LitertFile(self.path, cpu_options(threads), edit=self.edit, **at)
        return file.call(self.signature)

    def filled(self, call: PreparedCall, filled: int) -> Call | None:
        """A call whose last token sees ``filled`` slots; None if there are fewer, or it has more tokens."""
        mask = call.inputs[MASK].values
        tokens, slots = mask.shape[2:]
        if not tokens <= filled <= slots:
            return None
        newest = np.arange(filled - tokens, filled)
        mask[...] = np.arange(slots) <= newest[:, None]
        positions = call.inputs[INPUT_POS].values
        positions[...] = newest[: positions.size]
        if self.agreed.ring is None:
            return call
        written = filled if self.signature == DRAFT else filled - tokens
        held, before = call.inputs[held_positions()].values, held_after(self.agreed.ring, written)

        def again() -> None:  # a call moves the ring on
            held[...] = before.reshape(held.shape)
            call()

        return again


def held_after(ring: Ring, written: int) -> NDArray[np.int32]:
    """What a ring's tensor of positions is once ``written`` tokens have gone through, one at a time."""
    slots = np.arange(ring.slots)
    last = written - 1 - (written - 1 - slots) % ring.turn
    return np.where((slots < ring.turn) & (last >= 0), last + 1, 0).astype(np.int32)
