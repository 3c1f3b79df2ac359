"""What an interrupt, a kill or a second export at the same time leaves behind."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from exporter.inspection import inspect_bundle
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.export.command import COMMAND, grow, run


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("fresh", [True, False], ids=["lowering", "storing"])
def test_an_interrupt_leaves_nothing(stop: signal.Signals, fresh: bool, folder: Path) -> None:
    """At moments spread over the whole run; one that comes too late finds a finished bundle."""
    options = ["--fresh-graphs"] if fresh else []
    for delay in (0.2, 0.5, 0.8, 1.1, 1.6) if not fresh else (1.0, 6.0):
        output = folder / f"{delay}.litertlm"
        command = [*COMMAND, str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(output), *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        time.sleep(delay)
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -stop), said
        assert process.returncode != 130 or "interrupted" in said
        if output.exists():  # the signal came when all was done: then all is there
            assert inspect_bundle(output).problems == ()
            output.unlink()
        assert list(folder.iterdir()) == []


def test_an_interrupt_does_not_wait_for_checksums(copies: tuple[Path, Path], folder: Path) -> None:
    """The sources are hashed in a thread; of a large checkpoint that takes longer than anyone waits."""
    target, drafter = copies
    grow(target / "model.safetensors", 24 * 1024**3)
    command = [*COMMAND, str(target), str(drafter), "-o", str(folder / "x.litertlm")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(2.5)
    assert process.poll() is None, "hashing was too fast to be interrupted: grow the file"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 3
    assert list(folder.iterdir()) == []


def test_a_killed_run_is_tidied_by_the_next(folder: Path) -> None:
    """SIGKILL leaves a folder whose name says so; the next run for that output removes it."""
    output = folder / "x.litertlm"
    command = [*COMMAND, str(TINY_TARGET), str(TINY_DRAFTER), "-o", str(output)]
    left = False
    for _ in range(20):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and not list(folder.glob(".x.litertlm.partial-*/lock")):
            time.sleep(0.002)
        process.kill()
        process.wait()
        left = left or bool(list(folder.glob(".x.litertlm.partial-*")))
        output.unlink(missing_ok=True)
        if left:
            break
    assert left
    assert run("-o", output).returncode == 0
    assert list(folder.iterdir()) == [output]
