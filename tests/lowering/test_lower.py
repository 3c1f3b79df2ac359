"""The processes that lower: none outlives a failure, and a failure is told at once."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from exporter.errors import LoweringError
from exporter.lowering.lower import lower
from exporter.lowering.units import LoweringRequest, litert_units

SLOW = [sys.executable, "-c", "import time; time.sleep(30)"]
FAILING = [sys.executable, "-c", "raise SystemExit('no such operator')"]
MISSING = ["/no/such/interpreter"]

Processes = list["subprocess.Popen[bytes]"]


def run_instead(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> Processes:
    """Let the workers run these commands; the processes that were started are listed as they are."""
    processes: Processes = []
    left, popen = iter(commands), subprocess.Popen

    def start(command: list[str], **named: Any) -> subprocess.Popen[bytes]:
        processes.append(popen(next(left), **named))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return processes


def test_the_first_failure_ends_all(
    request_: LoweringRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = run_instead([SLOW, FAILING], monkeypatch)
    began = time.monotonic()
    with pytest.raises(LoweringError, match="no such operator"):
        lower(request_, list(litert_units(request_.contract)))
    assert time.monotonic() - began < 20
    assert all(process.poll() is not None for process in processes)


def test_a_process_that_cannot_be_started_ends_the_others(
    request_: LoweringRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = run_instead([SLOW, MISSING], monkeypatch)
    with pytest.raises(LoweringError, match="could not be started"):
        lower(request_, list(litert_units(request_.contract)))
    assert [process.poll() is None for process in processes] == [False]
