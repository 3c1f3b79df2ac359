"""What an interrupt, a kill or a second export at the same time leaves behind."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from exporter.bundles.inspection import inspect_bundle
from tests.export.command import grow, run, start

STOPS = 50
"""SIGINT and SIGKILL in turn."""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("fresh", [True, False], ids=["lowering", "storing"])
def test_an_interrupt_leaves_nothing(stop: signal.Signals, fresh: bool, folder: Path) -> None:
    """At moments spread over the whole run; one that comes too late finds a finished bundle."""
    options = ["--fresh-graphs"] if fresh else []
    for delay in (0.2, 0.5, 0.8, 1.1, 1.6) if not fresh else (1.0, 6.0):
        output = folder / f"{delay}.litertlm"
        process = start(output, *options)
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
    process = start(folder / "x.litertlm", target=target, drafter=drafter)
    time.sleep(2.5)
    assert process.poll() is None, "hashing was too fast to be interrupted: grow the file"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 3
    assert list(folder.iterdir()) == []


def test_stopped_at_random_moments_again_and_again(folder: Path) -> None:
    """SIGINT and SIGKILL, into the same folder: no file looks finished that is not, no run trips."""
    output = folder / "x.litertlm"
    started = time.monotonic()
    assert run("-o", output).returncode == 0
    whole, moments = time.monotonic() - started, np.random.default_rng(0)
    left, stopped = 0, 0
    for index in range(STOPS):
        output.unlink(missing_ok=True)
        process = start(output)
        time.sleep(moments.uniform(0.3, 1.0) * whole)
        process.send_signal(signal.SIGKILL if index % 2 else signal.SIGINT)
        process.communicate(timeout=60)
        stopped += process.returncode != 0
        left += bool(list(folder.glob(".x.litertlm.partial-*")))
        if output.exists():
            assert inspect_bundle(output).problems == ()
        assert all(path == output or path.name.startswith(".x.") for path in folder.iterdir())
    assert stopped > STOPS // 2, "most signals came too late to interrupt anything"
    assert left, "no SIGKILL came while a folder was there to be left behind"
    assert run("-o", output, "--force").returncode == 0
    assert list(folder.iterdir()) == [output]
