"""Torch functions to weightless ONNX models, in a child process.

As for LiteRT (``exporter.lowering.lower``): torch never shares memory with the weights that are
streamed later, and what it prints stays out of the user's terminal.
"""

from __future__ import annotations

import importlib.util
import pickle
import tempfile
from pathlib import Path

from exporter.errors import LoweringError
from exporter.lowering.child_processes import Job, run_jobs
from exporter.lowering.lower import LoweringRequest, units_by_section

WORKER = "exporter.onnx.trace_worker"

NEEDED = ("torch", "litert_torch", "onnx")
"""What tracing imports; the KV update is an operator of litert-torch."""


def lower(request: LoweringRequest) -> dict[str, bytes]:
    """Trace every signature.

    Returns:
        A serialised model for each, by :attr:`exporter.lowering.lower.Unit.file_name`.

    Raises:
        LoweringError: Something is not installed, or a signature cannot be written in ONNX.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise LoweringError(
            f"the graphs of this model are not known yet, and tracing them needs {', '.join(missing)}: "
            "pip install 'mtp-export[export,onnx]'"
        )
    with tempfile.TemporaryDirectory(prefix="mtp-export-onnx-") as name:
        folder = Path(name)
        asked = folder / "request"
        asked.write_bytes(pickle.dumps(request))
        run_jobs([Job("tracing the graphs", WORKER, asked)])
        return {
            unit.file_name: (folder / unit.file_name).read_bytes()
            for units in units_by_section(request.contract).values()
            for unit in units
        }
