"""Torch functions to weightless ONNX models, in a child process.

As for LiteRT (``exporter.lowering.lower``): torch never shares memory with the weights that are
streamed later, and what it prints stays out of the user's terminal.
"""

from __future__ import annotations

import importlib.util
import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path

from exporter.errors import LoweringError
from exporter.lowering.child_processes import Job, run_jobs
from exporter.lowering.units import LoweringRequest, Unit
from exporter.pip_install import pip_install

WORKER = "exporter.onnx.trace_worker"

NEEDED = ("torch", "litert_torch", "onnx")
"""What tracing imports; the KV update is an operator of litert-torch."""


def lower(request: LoweringRequest, units: Sequence[Unit]) -> dict[Unit, bytes]:
    """Trace signatures; returns a serialised model for each.

    Raises:
        LoweringError: Something is not installed, or a signature cannot be written in ONNX.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise LoweringError(
            f"the graphs of this model are not known yet, and tracing them needs {', '.join(missing)}: "
            f"{pip_install('export', 'onnx')}"
        )
    with tempfile.TemporaryDirectory(prefix="mtp-export-onnx-") as name:
        folder = Path(name)
        asked = folder / "request"
        asked.write_bytes(pickle.dumps((request, units)))
        run_jobs([Job("tracing the graphs", WORKER, asked)])
        return {unit: (folder / unit.file_name).read_bytes() for unit in units}
