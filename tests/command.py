"""The command, run in this process: what a user would get, without starting Python and importing everything.

Each command is also started as a process somewhere, because exit codes belong to processes.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from exporter.cli.main import main
from exporter.files.interrupts import STOPS

COMMAND = [sys.executable, "-m", "exporter.cli.main"]

Done = subprocess.CompletedProcess[str]


def run_process(*arguments: str | Path) -> Done:
    """Run it in a process of its own, to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(*arguments: str | Path) -> Done:
    """Run it here. An exception that would be a traceback there is raised.

    What native code writes to the terminal is not seen.
    """
    words = ["mtp-export", *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in STOPS}
    with (
        patch.object(sys, "argv", words),
        patch.object(sys, "unraisablehook", sys.unraisablehook),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, _text(out), _text(err))


def run_without(names: tuple[str, ...], *arguments: str | Path) -> Done:
    """Run the command where these packages are not installed."""
    code = (
        f"import sys; sys.argv[1:] = {[*map(str, arguments)]!r}\n"
        f"for name in {names!r}: sys.modules[name] = None\n"
        "from exporter.cli.main import main\n"
        "main()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8")
