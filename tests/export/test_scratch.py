"""Temporary files of killed commands: the next one removes them, and nothing of one that lives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.files.scratch import (
    COMMAND_PREFIX,
    ELSEWHERE,
    LOCK,
    VARIABLE,
    YOUNG_SECONDS,
    command_scratch,
)
from tests.command import run_process
from tests.export.command import grow, start, wait_for

BUSY = """
import sys, tempfile, time
from pathlib import Path
from exporter.files.output import scratch_folder
from exporter.files.scratch import command_scratch

with command_scratch(), scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "section").write_text("half")
    (Path(tempfile.mkdtemp(prefix="mtp-export-lower-")) / "request").write_text("asked")
    print("ready", flush=True)
    time.sleep(600)
"""
"""A command in the middle of its work."""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    made = tmp_path / "temporary"
    made.mkdir()
    return made


@contextmanager
def busy(output: Path, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """A command at work, killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(output)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, VARIABLE: str(temporary)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_next_command_removes_what_a_killed_one_left(
    folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside its output, too, whatever the next one writes; a live one keeps everything."""
    monkeypatch.setenv(VARIABLE, str(temporary))
    with busy(folder / "lives", temporary):
        here = [*sorted(temporary.rglob("*")), *sorted(folder.rglob("*"))]
        with busy(folder / "killed", temporary):
            pass
        assert len([*temporary.rglob("*"), *folder.rglob("*")]) == 2 * len(here)
        with command_scratch():
            assert len(list(temporary.iterdir())) == 2
        assert [*sorted(temporary.rglob("*")), *sorted(folder.rglob("*"))] == here
    with command_scratch():
        assert list(folder.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert os.environ[VARIABLE] == str(temporary)


def test_nothing_else_is_removed(
    folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what such a file must not name, nor what a link leads to, nor a folder just made."""
    monkeypatch.setenv(VARIABLE, str(temporary))
    for name in ("mine", ".mine.partial-x"):
        (folder / name).mkdir()
        (folder / name / LOCK).touch()
    left = temporary / f"{COMMAND_PREFIX}left"
    left.mkdir()
    (left / LOCK).touch()
    told = ([str(folder), ""], [str(folder), "mine"], [str(folder), ".other.partial-"], [1, 2], "x")
    (left / ELSEWHERE).write_text("\n".join(map(json.dumps, told)))
    (temporary / f"{COMMAND_PREFIX}link").symlink_to(folder / "mine")
    young, old = temporary / f"{COMMAND_PREFIX}young", temporary / f"{COMMAND_PREFIX}old"
    for made in (young, old):
        made.mkdir()
    os.utime(old, (0, old.stat().st_mtime - 2 * YOUNG_SECONDS))
    with command_scratch():
        pass
    assert sorted(path.name for path in folder.iterdir()) == [".mine.partial-x", "mine"]
    assert sorted(temporary.iterdir()) == [temporary / f"{COMMAND_PREFIX}link", young]


@pytest.mark.slow
@pytest.mark.alone
def test_any_command_removes_what_a_killed_export_left(
    copies: tuple[Path, Path], folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it lowers and while it stores."""
    target, drafter = copies
    grow(target / "model.safetensors", 24 * 1024**3)
    monkeypatch.setenv(VARIABLE, str(temporary))
    for arguments, where, pattern in (
        (["--fresh-graphs"], temporary, "*/mtp-export-lower-*/request.*"),
        ([], folder, ".*.partial-*/*"),
    ):
        output = folder / "x.litertlm"
        process = start(output, *arguments, target=target, drafter=drafter, temporary=temporary)
        wait_for(where, pattern, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert list(temporary.iterdir())
        assert run_process("recipes").returncode == 0
        assert list(temporary.iterdir()) == list(folder.iterdir()) == []
