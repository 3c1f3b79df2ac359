"""A child ends with its parent, even with one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from exporter.child_process import SECONDS, child_command

SLEEPER = (
    "import os, pathlib, sys, time;"
    "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
)

PARENT = (
    "import subprocess, sys; from exporter.child_process import child_command;"
    "subprocess.run(child_command('sleeper', sys.argv[1]))"
)


def is_running(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    told = tmp_path / "pid"
    path = f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(told)], env={**os.environ, "PYTHONPATH": path}
    )
    while not told.exists() or not told.read_text():
        time.sleep(0.05)
    child = int(told.read_text())
    assert is_running(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + SECONDS + 10
    while is_running(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(child)


BOUNDED = "from exporter.bounded_call import bounded_call;print(bounded_call(60, 1 << 30, abs, -3))"


def test_modules_in_the_working_folder_are_not_imported(tmp_path: Path) -> None:
    """A checkpoint's folder may have files with the names of modules."""
    for name in ("pickle", "resource", "exporter"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('code of a stranger')")
    done = subprocess.run(
        [sys.executable, "-P", "-c", BOUNDED],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_what_the_module_gets() -> None:
    """Its arguments, its name and its exit status are those of a program run alone."""
    done = subprocess.run(
        child_command("json.tool", "--help"), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "json.tool" in done.stdout or "JSON" in done.stdout
