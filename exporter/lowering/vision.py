"""Lowering a vision tower and its adapter, one signature at a time, in child processes.

Each signature's graph is kept by itself: it depends on the tower and on the number of its soft tokens, so
E2B and E4B share the encoder's, and another choice of ``--image-tokens`` lowers only what is new.
"""

from __future__ import annotations

import importlib.util
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract import Section, SignatureSpec
from exporter.errors import LoweringError
from exporter.lowering.child_processes import Job, run_jobs
from exporter.lowering.lower import WORKERS
from exporter.vision_contract import VisionContract

WORKER = "exporter.lowering.vision_worker"

LOWERED = (Section.VISION_ENCODER, Section.VISION_ADAPTER)
"""Sections whose graphs torch makes; the end of a picture is a constant."""


@dataclass(frozen=True)
class VisionUnit:
    """One signature to lower: all that its graph depends on."""

    config: VisionConfig
    section: Section
    signature: str
    spec: SignatureSpec

    @property
    def file_name(self) -> str:
        return f"{self.section.value}.{self.signature}"


def vision_units(config: VisionConfig, wanted: VisionContract) -> list[VisionUnit]:
    """Every signature that is lowered, section by section."""
    sections = wanted.section_signatures()
    return [
        VisionUnit(config, section, name, spec)
        for section in LOWERED
        for name, spec in sections[section].items()
    ]


def lower_vision(units: Sequence[VisionUnit]) -> list[bytes]:
    """Lower signatures, each to a flatbuffer of its own, in the order of ``units``.

    Raises:
        LoweringError: The converter is not installed, cannot be started, or refused a graph.
    """
    if importlib.util.find_spec("litert_torch") is None:
        raise LoweringError(
            "the graphs of this vision tower are not known yet and lowering them needs litert-torch: "
            "pip install 'mtp-export[export]'; --no-vision exports the text model alone"
        )
    with tempfile.TemporaryDirectory(prefix="mtp-export-lower-") as name:
        folder = Path(name)
        jobs = []
        for number in range(min(WORKERS, len(units))):
            share, asked = units[number::WORKERS], folder / f"request.{number}"
            asked.write_bytes(pickle.dumps(list(share)))
            title = f"lowering {', '.join(unit.signature for unit in share)}"
            jobs.append(Job(title, WORKER, asked))
        run_jobs(jobs)
        return [(folder / unit.file_name).read_bytes() for unit in units]
