"""Torch functions to LiteRT flatbuffers, without weights.

Lowering runs in child processes: signatures are lowered side by side, torch and the converter never
share memory with the weights that are streamed later, and what the converter prints stays out of the
user's terminal. A lowered graph is about a megabyte; its weights are graph inputs named
``weights_<parameter>``.
"""

from __future__ import annotations

import importlib.util
import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.architecture import DrafterConfig, HeadKind, TargetConfig
from exporter.contract import (
    BATCH_DECODE,
    BATCH_VERIFY,
    DECODE,
    DRAFT_ROUND,
    VERIFY,
    Contract,
    Section,
)
from exporter.errors import LoweringError
from exporter.lowering.child_processes import Job, run_jobs
from exporter.lowering.merge import merge

WORKERS = 2
"""Processes that lower at the same time. Each takes up to a gigabyte and one core."""

WORKER = "exporter.lowering.worker"


@dataclass(frozen=True)
class LoweringRequest:
    """What a graph depends on; equal requests give the same graph (for the same tool versions)."""

    target: TargetConfig
    drafter: DrafterConfig | None
    head: HeadKind
    contract: Contract


@dataclass(frozen=True)
class Lowered:
    """The graphs of one bundle, their weights still inputs.

    ``draft_round`` has one signature, whose weights are those of two sections; None where the contract
    has no such signature.
    """

    sections: dict[Section, bytes]
    draft_round: bytes | None = None


@dataclass(frozen=True)
class Unit:
    """One signature to lower."""

    section: Section
    signature: str

    @property
    def file_name(self) -> str:
        return f"{self.section.value}.{self.signature}"


DRAFT_ROUND_UNIT = Unit(Section.MTP_DRAFTER, DRAFT_ROUND)
"""Lowered beside the drafter's signatures, and kept apart from them."""


def lower(request: LoweringRequest) -> Lowered:
    """Lower every model section of a bundle, and the graph of a draft round, in child processes.

    Raises:
        LoweringError: The converter is not installed, cannot be started, or refused a graph; the message
            then ends with what it printed last.
    """
    if importlib.util.find_spec("litert_torch") is None:
        raise LoweringError(
            "the graphs of this architecture are not known yet and lowering them needs litert-torch: "
            "pip install 'mtp-export[export]'"
        )
    with tempfile.TemporaryDirectory(prefix="mtp-export-lower-") as name:
        folder = Path(name)
        run_jobs(list(_jobs(request, folder)))
        sections = {
            section: merge([(folder / unit.file_name).read_bytes() for unit in units])
            for section, units in units_by_section(request.contract).items()
        }
        if request.contract.draft_round_signature() is None:
            return Lowered(sections)
        return Lowered(sections, (folder / DRAFT_ROUND_UNIT.file_name).read_bytes())


def _jobs(request: LoweringRequest, folder: Path) -> Iterator[Job]:
    """What the workers do; each leaves its graphs in ``folder``."""
    for number, units in enumerate(share_out(request.contract)):
        asked = folder / f"request.{number}"
        asked.write_bytes(pickle.dumps((request, units)))
        title = f"lowering {', '.join(unit.signature for unit in units)}"
        yield Job(title, WORKER, asked)


def units_by_section(contract: Contract) -> dict[Section, list[Unit]]:
    """Every signature of the bundle, in the order its section has them."""
    return {
        section: [Unit(section, name) for name in signatures]
        for section, signatures in contract.section_signatures().items()
    }


def share_out(contract: Contract) -> list[list[Unit]]:
    """Divide the signatures among the workers, the costliest first, each to the least busy worker."""
    units = [unit for units in units_by_section(contract).values() for unit in units]
    if contract.draft_round_signature() is not None:
        units.append(DRAFT_ROUND_UNIT)
    shares: list[list[Unit]] = [[] for _ in range(WORKERS)]
    for unit in sorted(units, key=_cost, reverse=True):
        min(shares, key=lambda share: sum(map(_cost, share))).append(unit)
    return shares


def _cost(unit: Unit) -> int:
    """Roughly how long a signature takes: the whole stack, half of it, a few layers, a lookup."""
    if unit.signature in (DECODE, VERIFY):
        return 20
    if unit.signature in (BATCH_DECODE, BATCH_VERIFY):
        return 30
    if unit == DRAFT_ROUND_UNIT:
        return 12
    return {Section.PREFILL_DECODE: 12, Section.MTP_DRAFTER: 5}.get(unit.section, 1)
