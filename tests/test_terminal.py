"""What reaches stderr: our own words, as many as were asked for, and not those of libraries."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from exporter.cli.progress import TerminalReporter
from exporter.cli.terminal import fitted, speaking
from tests.command import COMMAND, run
from tests.pseudo_terminal import in_terminal

LIBRARY = """
import atexit, logging, os, sys
import click
from exporter.cli import main as module
from exporter.cli.strict_command import StrictCommand
from exporter.errors import EngineError

@module.cli.command("noisy", cls=StrictCommand)
@click.argument("how")
def noisy(how):
    atexit.register(os.write, 2, b"INFO: DestroyAccelerator\\n")
    os.write(2, b"INFO: chatter\\nERROR: it broke\\n")
    logging.getLogger("torch").warning("a warning")
    click.echo("our note", err=True)
    if how == "fails":
        raise EngineError("it cannot be loaded")
    if how == "crashes":
        os.abort()

module.COMMANDS["noisy"] = ""
module.LazyGroup.get_command = lambda self, ctx, name: noisy
module.main()
"""
"""The command line with a command whose library writes to descriptor 2 until the process ends."""


def noisy(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIBRARY, "noisy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_libraries_are_not_heard() -> None:
    assert noisy("works").stderr == "our note\n"
    assert noisy("works", "--quiet").stderr == ""


def test_a_librarys_last_error_goes_with_ours() -> None:
    done = noisy("fails", "--quiet")
    assert done.returncode == 1
    assert done.stderr == "mtp-export: it cannot be loaded\n  | ERROR: it broke\n"


def test_verbose_hides_nothing() -> None:
    said = noisy("works", "-v").stderr
    for line in ("INFO: chatter", "torch: a warning", "our note", "INFO: DestroyAccelerator"):
        assert line in said


def test_streams_that_are_closed() -> None:
    """What is opened next does not get their descriptors, and nothing of a library's words."""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", LIBRARY, "noisy"]
    assert subprocess.run([*command, "works"], check=False).returncode == 0


def test_a_crash_is_told() -> None:
    assert "Fatal Python error: Aborted" in noisy("crashes").stderr


def test_quiet_or_verbose() -> None:
    done = run("recipes", "-q", "-v")
    assert done.returncode == 2
    assert "give --quiet or --verbose, not both" in done.stderr


def test_no_progress_where_it_is_quiet() -> None:
    with redirect_stderr(heard := io.StringIO()), speaking(quiet=True, verbose=False):
        reporter = TerminalReporter()
        reporter.note("a note")
        with reporter.stage("a stage", 10):
            pass
    assert heard.getvalue() == ""


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_colour_and_lines_that_fit(columns: int, tmp_path: Path) -> None:
    missing = str(tmp_path / "x.litertlm")
    with in_terminal("inspect", missing, columns=columns) as terminal:
        shown, code = terminal.end()
    assert code == 1
    assert "\x1b[31m" in shown
    with in_terminal("inspect", missing, environment={"NO_COLOR": "1"}) as terminal:
        assert "\x1b" not in terminal.end()[0]
    assert "\x1b" not in run("inspect", missing).stderr


class Columns80(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_long_lines_break_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = "a   table\n" + "word " * 30
    lines = fitted(text, Columns80()).splitlines()
    assert lines[0] == "a   table"
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines[1:]).split()) == text.splitlines()[1].strip()
    assert fitted(text, io.StringIO()) == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "completed"),
    [("mtp-export gen", "generate"), ("mtp-export compare --rou", "--rounds")],
)
def test_the_shell_completes(words: str, completed: str) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    environment = {**os.environ, "_MTP_EXPORT_COMPLETE": "bash_complete", **asked}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"plain,{completed}\n"
