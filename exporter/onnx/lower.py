"""Torch functions to weightless ONNX models, in a child process.

As for LiteRT (``exporter.lowering.lower``): torch never shares memory with the weights that are
streamed later, and what it prints stays out of the user's terminal.
"""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

from exporter.errors import LoweringError
from exporter.lowering.lower import LOG_LINES_SHOWN, LoweringRequest, units_by_section

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
        (folder / "request").write_bytes(pickle.dumps(request))
        _run_worker(folder)
        return {
            unit.file_name: (folder / unit.file_name).read_bytes()
            for units in units_by_section(request.contract).values()
            for unit in units
        }


def _run_worker(folder: Path) -> None:
    command = [sys.executable, "-m", WORKER, str(folder / "request")]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        last = done.stdout.decode(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise LoweringError(
            f"tracing the graphs failed (exit status {done.returncode}); its last lines were:\n"
            + "\n".join(last)
        )
