"""Torch functions to LiteRT flatbuffers, without weights.

Lowering runs in child processes: the sections are lowered side by side, torch and the converter
never share memory with the weights that are streamed later, and what the converter prints stays out
of the user's terminal. A lowered graph is about a megabyte; its weights are graph inputs named
``weights_<parameter>``.
"""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from exporter.config import DrafterConfig, TargetConfig
from exporter.contract import Contract, Section
from exporter.errors import LoweringError
from exporter.heads import HeadKind

WEIGHT_PREFIX = "weights_"
"""Prefix of the graph inputs that are weights; the parameter's name follows."""

LOG_LINES_SHOWN = 15


@dataclass(frozen=True)
class LoweringRequest:
    """What a graph depends on; equal requests give the same graph (for the same tool versions)."""

    target: TargetConfig
    drafter: DrafterConfig | None
    head: HeadKind
    contract: Contract


def lower(request: LoweringRequest) -> dict[Section, bytes]:
    """Lower every model section of a bundle, in child processes.

    Returns:
        A flatbuffer for each section, its weights still graph inputs.

    Raises:
        LoweringError: The converter is not installed, or refused a graph; the message then ends with
            what it printed last.
    """
    if importlib.util.find_spec("litert_torch") is None:
        raise LoweringError(
            "the graphs of this architecture are not known yet and lowering them needs litert-torch: "
            "pip install 'mtp-export[export]'"
        )
    sections = tuple(request.contract.section_signatures())
    large = (Section.PREFILL_DECODE,)
    small = tuple(section for section in sections if section not in large)
    with tempfile.TemporaryDirectory(prefix="mtp-export-lower-") as folder:
        workers = [
            _Worker(request, group, Path(folder) / str(number))
            for number, group in enumerate((large, small))
        ]
        try:
            lowered = [worker.result() for worker in workers]
        finally:
            for worker in workers:
                worker.stop()
    merged = {section: graph for graphs in lowered for section, graph in graphs.items()}
    return {section: merged[section] for section in sections}


class _Worker:
    """One child process that lowers some sections and leaves the graphs in a folder."""

    def __init__(
        self, request: LoweringRequest, sections: tuple[Section, ...], folder: Path
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.sections = sections
        (folder / "request").write_bytes(pickle.dumps((request, sections)))
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "exporter.lower_worker", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def result(self) -> dict[Section, bytes]:
        if self.process.wait():
            last = (self.folder / "log").read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
            raise LoweringError(
                f"lowering {_names(self.sections)} failed (exit status {self.process.returncode}); "
                "the converter's last lines were:\n" + "\n".join(last)
            )
        return {section: (self.folder / section.value).read_bytes() for section in self.sections}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _names(sections: Iterable[Section]) -> str:
    return ", ".join(section.name.lower() for section in sections)
