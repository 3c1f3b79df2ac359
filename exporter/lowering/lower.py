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
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from exporter.contract.names import BATCH_DECODE, BATCH_VERIFY, DECODE, VERIFY, Section
from exporter.errors import LoweringError
from exporter.lowering.child_processes import Job, run_jobs
from exporter.lowering.units import DRAFT_ROUND_UNIT, Unit
from exporter.pip_install import pip_install

WORKERS = 2
"""Processes that lower at the same time. Each takes up to a gigabyte and one core."""

ENOUGH = 40
"""Work, as :func:`_cost` counts it, that is worth another process with torch and the converter in it."""

WORKER = "exporter.lowering.worker"


class Traceable(Protocol):
    """A request whose signatures can be traced."""

    maker: ClassVar[str]
    """The module whose ``unit_signature(request, unit)`` makes the signature of a unit."""


def lower(request: Traceable, units: Sequence[Unit]) -> dict[Unit, bytes]:
    """Lower signatures in child processes.

    Args:
        request: What they are signatures of.
        units: The signatures.

    Raises:
        LoweringError: The converter is not installed, cannot be started, or refused a graph; the message
            then ends with what it printed last.
    """
    if importlib.util.find_spec("litert_torch") is None:
        raise LoweringError(
            "the graphs of this architecture are not known yet and lowering them needs litert-torch: "
            f"{pip_install('export')}"
        )
    with tempfile.TemporaryDirectory(prefix="mtp-export-lower-") as name:
        folder, jobs = Path(name), []
        for number, share in enumerate(share_out(units)):
            asked = folder / f"request.{number}"
            asked.write_bytes(pickle.dumps((request, share)))
            title = f"lowering {', '.join(unit.signature for unit in share)}"
            jobs.append(Job(title, WORKER, asked))
        run_jobs(jobs)
        return {unit: (folder / unit.file_name).read_bytes() for unit in units}


def share_out(units: Sequence[Unit]) -> list[list[Unit]]:
    """Divide signatures among the workers: each goes, costliest first, to the one with the least work."""
    workers = min(WORKERS, -(-sum(map(_cost, units)) // ENOUGH))
    shares: list[list[Unit]] = [[] for _ in range(workers)]
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
    sections = {
        Section.PREFILL_DECODE: 12,
        Section.MTP_DRAFTER: 5,
        Section.VISION_ENCODER: 40,
        Section.AUDIO_ENCODER: 40,
    }
    return sections.get(unit.section, 1)
