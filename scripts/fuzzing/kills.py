"""Commands stopped at random moments: what they leave, and whether the next run finishes.

A kill is valid if the command was still running when the signal was sent, and ended by it. After each,
nothing may pass as finished that is not, and no process of the command may be left; every now and then the
command is run to its end, where nothing but its output may be left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.integrity import check_sections
from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from fuzzing.places import CHECKPOINTS

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 130
"""The exit code of a command that was told to stop; a second signal while it leaves changes nothing."""

ENDED_BY = {
    signal.SIGKILL: (-signal.SIGKILL,),
    signal.SIGTERM: (INTERRUPTED, -signal.SIGTERM),
    signal.SIGINT: (INTERRUPTED, -signal.SIGINT),
}
"""Statuses with which a signal ends the command; before it has taken the signals over, the signal's own."""

PATIENCE = 8.0
"""Seconds until the last process of a killed command has ended: children look every second."""

LEAVING = 60.0
"""Seconds in which a command has to end after a signal."""

MARK = "MTP_EXPORT_FUZZ_RUN"
PAIR = (str(CHECKPOINTS / "target"), str(CHECKPOINTS / "drafter"))
PROMPTS = CHECKPOINTS / "prompts.txt"
SMALL = ("--passages", "6", "--passage-length", "64", "--prompt-tokens", "24", "--new-tokens", "24")


def whole_bundle(path: Path) -> None:
    """Check that a bundle is whole: its contract is kept, and so are its checksums."""
    assert not inspect_bundle(path).problems
    check_sections(open_bundle(path), weights=True)


def whole_bundles(folder: Path) -> None:
    """Check every bundle of a folder."""
    for path in folder.glob("*.litertlm"):
        whole_bundle(path)


@dataclass(frozen=True)
class Mode:
    """A command that writes ``output``, a name within the folder it is given."""

    output: str
    arguments: Callable[[Path], tuple[str, ...]]
    check: Callable[[Path], object]
    """Raises if the output is there and not whole."""


def _export(*more: str) -> Mode:
    return Mode(
        "x.litertlm",
        lambda output: ("export", *PAIR, "-o", str(output), "--recipe", "int8", "--force", *more),
        whole_bundle,
    )


def _tune(output: Path) -> tuple[str, ...]:
    given = output.with_name("prompts.txt")
    given.write_text(
        "\n".join(PROMPTS.read_text(encoding="utf-8").splitlines()[:60]), encoding="utf-8"
    )
    more = ("--prompts", str(given), "--epochs", "1", "--max-tokens", "48", "--force", "--resume")
    return ("tune", *PAIR, "-o", str(output), *more)


MODES: Mapping[str, Mode] = {
    "export-fresh": _export("--fresh-graphs"),
    "export-kept": _export(),
    "quantize-report": Mode(
        "kept",
        lambda output: (
            *("quantize-report", *PAIR, "--text", str(PROMPTS), *SMALL, "--recipe", "int8"),
            *("--keep", str(output), "--report", str(output.with_name("report.json"))),
        ),
        whole_bundles,
    ),
    "tune": Mode("drafter", _tune, open_checkpoint),
}


@dataclass
class Kills:
    """What came of a mode so far."""

    whole: float
    """Seconds of a run that nobody stops."""
    tried: int = 0
    finished: int = 0
    """Runs to the end after kills."""
    valid: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def kill(
    mode: Mode, folder: Path, source: Random, count: int, finish_every: int, whole: float | None
) -> Iterator[Kills]:
    """Stop a command until ``count`` kills were valid; the result after each try.

    Args:
        mode: The command.
        folder: An empty one, for its output and its temporary files.
        source: Of moments and signals.
        count: Valid kills.
        finish_every: Kills until it is run to its end; 0 for never.
        whole: Seconds of a run; None: it is run twice first, and the second counts.
    """
    output, temporary = folder / "there" / mode.output, folder / "temporary"
    output.parent.mkdir(parents=True)
    temporary.mkdir()
    found = Kills(whole or 0.0)
    for _ in range(2 if whole is None else 0):  # the first may have to lower graphs
        began = time.monotonic()
        _finish(mode, output, temporary, found)
        found.whole = time.monotonic() - began
    while found.valid.total() < count:
        found.tried += 1
        _kill_once(mode, output, temporary, source, found)
        if finish_every and found.tried % finish_every == 0:
            _finish(mode, output, temporary, found)
        yield found
    if finish_every:
        _finish(mode, output, temporary, found)
    yield found


def _kill_once(mode: Mode, output: Path, temporary: Path, source: Random, found: Kills) -> None:
    stop, moment = source.choice(SIGNALS), source.uniform(0.02, 1.0) * found.whole
    mark = uuid.uuid4().hex
    process = _started(mode, output, temporary, mark)
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    alive = process.poll() is None
    if alive:
        process.send_signal(stop)
    where = f"{stop.name} after {moment:.2f} s"
    try:
        _, said = process.communicate(timeout=LEAVING)
    except subprocess.TimeoutExpired:
        found.findings.append(f"{where}: still running {LEAVING:g} s later")
        process.kill()
        _, said = process.communicate()
    if alive and process.returncode in ENDED_BY[stop]:
        found.valid[stop.name] += 1
    elif process.returncode != 0:
        found.findings.append(f"{where}: status {process.returncode}: {said[-300:]}")
    if "Traceback" in said:
        found.findings.append(f"{where}: {said[-600:]}")
    _check(mode, output, where, found)
    if left := _left(mark):
        found.findings.append(f"{where}: processes are left: {left}")


def _finish(mode: Mode, output: Path, temporary: Path, found: Kills) -> None:
    """Run the command to its end and look at what is there then."""
    process = _started(mode, output, temporary, uuid.uuid4().hex)
    _, said = process.communicate()
    found.finished += 1
    if process.returncode != 0 or not output.exists():
        found.findings.append(f"a run to the end: status {process.returncode}: {said[-600:]}")
    _check(mode, output, "a run to the end", found)
    beside = {path.name for path in output.parent.iterdir()} - {
        mode.output,
        "prompts.txt",
        "report.json",
    }
    within = {path.name for path in temporary.iterdir() if "mtp-export" in path.name}
    if beside or within:
        found.findings.append(f"after a run to the end there is {sorted(beside | within)}")


def _check(mode: Mode, output: Path, where: str, found: Kills) -> None:
    if output.exists():
        try:
            mode.check(output)
        except Exception as error:  # whatever it is: the output is not what it should be
            found.findings.append(f"{where}: {output.name} is not whole: {error!r}")


def _started(mode: Mode, output: Path, temporary: Path, mark: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "exporter.cli.main", *mode.arguments(output)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), MARK: mark},
        preexec_fn=_open_to_signals,
    )


def _open_to_signals() -> None:
    """Undo what ``nohup`` and shells' background jobs do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _left(mark: str) -> list[str]:
    """Processes of a run that are there after some patience: each has the mark in its environment."""
    end = time.monotonic() + PATIENCE
    while (left := list(_marked(mark))) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _marked(mark: str) -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            if mark.encode() in (folder / "environ").read_bytes():
                yield (
                    (folder / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace")[:120]
                )
