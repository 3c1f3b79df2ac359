"""What an interrupt, a kill or a second export at the same time leaves behind."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from exporter.bundle.inspection import inspect_bundle
from exporter.lowering.lower import WORKERS
from tests.export.command import grow, run, start, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.alone]

MOMENTS = np.linspace(0.3, 1.0, 12)
"""Of a whole run, at which it is stopped, by SIGINT and SIGKILL in turn."""

PATIENCE = 3
"""Seconds until an interrupted export has ended."""


SCRATCH = ".*.partial-*"
"""The folder beside the output, there while weights are stored and the bundle is packed."""


def interrupt(process: subprocess.Popen[str], stop: signal.Signals, folder: Path) -> None:
    """It ends at once, says so, and leaves nothing, although more signals come while it does."""
    started = time.monotonic()
    while process.poll() is None:
        process.send_signal(stop)
        time.sleep(0.002)
        assert time.monotonic() - started < 60
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert time.monotonic() - started < PATIENCE
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("stop", "delays"), [(signal.SIGINT, (0.0, 4.0)), (signal.SIGTERM, (4.0,))]
)
def test_an_interrupt_while_lowering(
    stop: signal.Signals, delays: tuple[float, ...], folder: Path, tmp_path: Path
) -> None:
    """The processes that lower end as well, while they start and while they work."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for delay in delays:
        process = start(folder / "x.litertlm", "--fresh-graphs", temporary=temporary)
        wait_for(temporary, "mtp-export-run-*/mtp-export-lower-*/request.1.log", process)
        time.sleep(delay)
        working = commands_with(temporary)
        interrupt(process, stop, folder)
        assert not commands_with(temporary)
        assert list(temporary.iterdir()) == []
    assert len(working) == WORKERS


def commands_with(folder: Path) -> list[str]:
    """Running processes that were given a file in this folder."""
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            commands.append(file.read_text())
    return [command for command in commands if str(folder) in command]


@pytest.mark.parametrize(
    ("stop", "delays"), [(signal.SIGINT, (0.0, 0.2)), (signal.SIGTERM, (0.05, 1.0))]
)
def test_an_interrupt_while_storing(
    stop: signal.Signals, delays: tuple[float, ...], copies: tuple[Path, Path], folder: Path
) -> None:
    """The sources are hashed in a thread; of a large checkpoint that takes longer than anyone waits."""
    target, drafter = copies
    grow(target / "model.safetensors", 24 * 1024**3)
    for delay in delays:
        process = start(folder / "x.litertlm", target=target, drafter=drafter)
        wait_for(folder, SCRATCH, process)
        time.sleep(delay)
        assert process.poll() is None, "hashing was too fast to be interrupted: grow the file"
        interrupt(process, stop, folder)


def seconds_of_an_export(output: Path) -> float:
    """That is not interrupted; the first on a busy or new machine may take much longer than others."""
    output.unlink(missing_ok=True)
    started = time.monotonic()
    process = start(output)
    process.communicate()
    assert process.returncode == 0
    return time.monotonic() - started


def test_stopped_again_and_again(folder: Path) -> None:
    """SIGINT and SIGKILL, into the same folder: no file looks finished that is not, no run trips."""
    output = folder / "x.litertlm"
    whole, left, stopped = min(seconds_of_an_export(output) for _ in range(2)), 0, 0
    for index, moment in enumerate(MOMENTS):
        output.unlink(missing_ok=True)
        process = start(output)
        time.sleep(moment * whole)
        process.send_signal(signal.SIGKILL if index % 2 else signal.SIGINT)
        process.communicate(timeout=60)
        stopped += process.returncode != 0
        left += bool(list(folder.glob(SCRATCH)))
        if output.exists():
            assert inspect_bundle(output).problems == ()
        assert all(path == output or path.name.startswith(".x.") for path in folder.iterdir())
    assert stopped > len(MOMENTS) // 2, "most signals came too late to interrupt anything"
    assert left, "no SIGKILL came while a folder was there to be left behind"
    assert run("-o", output, "--force").returncode == 0
    assert list(folder.iterdir()) == [output]
