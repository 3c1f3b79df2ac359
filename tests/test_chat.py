"""``mtp-export chat``, typed into a terminal and through a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.command import COMMAND, run_process
from tests.pseudo_terminal import PseudoTerminal, in_terminal

pytestmark = pytest.mark.slow

BEAR, FOX = "Where does the bear live?", "And what does the fox eat?"
CAVE = "The bear lives in a cave."
STORY = "Tell me a story about a bear and a kite in the swamp."
TRIES = 10
GREEN = "\x1b[32m"


def piped(bundle: Path, lines: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "chat", str(bundle), *options]
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["int8"]


@pytest.mark.parametrize("runtime", ["litert-lm", "reference"])
def test_a_line_is_a_turn(runtime: str, bundle: Path, tmp_path: Path) -> None:
    """The second answer follows from the first, the third does not."""
    done = piped(bundle, f"{BEAR}\n\n{FOX}\n/reset\n{BEAR}\n/quit\nx\n", "--runtime", runtime)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == third == CAVE
    chat = tmp_path / "chat.json"
    said = [("user", BEAR), ("assistant", CAVE), ("user", FOX)]
    messages = [f'{{"role": "{role}", "content": "{text}"}}' for role, text in said]
    chat.write_text(f"[{', '.join(messages)}]")
    expected = run_process("generate", bundle, "--chat-file", chat, "--mtp", "off")
    assert second == expected.stdout.strip()
    assert done.stderr.count("tokens/s") == 3
    assert ("% of drafts accepted in all" in done.stderr) == (runtime == "litert-lm")


def test_a_line_that_goes_on_and_one_that_is_no_text(bundle: Path) -> None:
    command = [*COMMAND, "chat", str(bundle), "--quiet", "--runtime", "reference"]
    said = BEAR.replace("the", "\\\nthe").encode()  # a backslash ends the first line
    done = subprocess.run(command, input=said + b"\n\xff\n", capture_output=True, check=False)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert b"stdin: expected text in UTF-8" in done.stderr


def test_a_pipe_is_told_of_an_error_by_the_exit_code(bundle: Path) -> None:
    done = piped(bundle, f"{BEAR}\n/nope\n{BEAR}\n", "--quiet", "--runtime", "reference")
    assert (done.returncode, done.stdout) == (1, f"{CAVE}\n")
    assert done.stderr.startswith("mtp-export: /nope: expected one of /image FILE, ")


def interrupted(terminal: PseudoTerminal) -> str:
    """Ask for a story and cancel it, which comes too late now and then; what follows its first word."""
    terminal.type(f"/reset\n{STORY}\n")
    terminal.until("forgotten")
    terminal.until("One")
    terminal.type("\x03")
    return terminal.until("\r\n> ")


def test_typed_to_the_stock_engine(bundle: Path) -> None:
    """Ctrl-C ends an answer and the chat goes on; at the prompt it drops the line."""
    with in_terminal("chat", str(bundle), columns=120) as terminal:
        assert "/help lists commands" in terminal.until("\r\n> ")
        assert any("reeds bent" not in interrupted(terminal) for _ in range(TRIES))
        terminal.type("half a line")
        terminal.until("half a line")
        terminal.interrupt_until("\r\n> ")
        terminal.type(f"/reset\n{BEAR}\n")
        terminal.until("forgotten")
        assert CAVE in terminal.until("slots")
        terminal.until("> ")
        terminal.type("/image x.png\n")
        assert "pictures cannot be asked about" in terminal.until("> ")
        terminal.type("\x04")
        shown, code = terminal.end()
    assert code == 0
    assert "of drafts accepted in all" in shown


def test_an_engine_that_dies(bundle: Path) -> None:
    """Nobody is left to talk with, so the chat ends and says why."""
    with in_terminal("chat", str(bundle), columns=200) as terminal:
        terminal.until("\r\n> ")
        for child in terminal.children():
            os.kill(child, signal.SIGKILL)
        terminal.type(f"{BEAR}\n")
        shown, code = terminal.end()
    assert code == 1
    assert "the engine stopped with status -9" in shown


def test_typed_to_the_reference_runtime(bundle: Path) -> None:
    """Accepted drafts are green, unless colours are not wanted."""
    options = ("chat", str(bundle), "--runtime", "reference", "--draft-length", "3")
    with in_terminal(*options) as terminal:
        assert f"{GREEN}drafter" in terminal.until("\r\n> ")
        assert any("cancelled" in interrupted(terminal) for _ in range(TRIES))
        terminal.type(f"/reset\n{BEAR}\n")
        terminal.until("forgotten")
        assert GREEN in terminal.until("% of drafts accepted")
        terminal.until("> ")
        terminal.type("/quit\n")
        assert terminal.end()[1] == 0
    with in_terminal(*options, "--quiet", environment={"NO_COLOR": "1"}) as terminal:
        assert terminal.until("> ") == "> ", "it speaks of colours, or is not quiet"
        terminal.type("/helpp\n")
        assert "/helpp: expected one of" in terminal.until("> ")
        terminal.type(f"{BEAR}\n")
        assert CAVE in terminal.until("> ")
        terminal.type("\x04")
        assert terminal.end()[1] == 0
