"""The folder of a tuning: what is there need not be made again while nothing that it depends on changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.errors import OutputError, listed
from exporter.files.output import FULL
from exporter.files.scratch import LOCK, take_lock
from exporter.tune.options import TuneError

KEY, TIMES = "key.json", "seconds.json"
PARTIAL = ".partial"


@dataclass(frozen=True)
class WorkFolder:
    """Where answers, features and the state of the training are kept."""

    path: Path

    @staticmethod
    def open(path: Path, key: Mapping[str, Any], *, resume: bool) -> WorkFolder:
        """Make a folder, or go on in one that was made for the same key.

        Raises:
            TuneError: There is something else in it, or another tuning, or this one and nobody asked to go on
                with it.
            OutputError: It cannot be made.
        """
        wanted = json.loads(json.dumps(key))
        try:
            path.mkdir(parents=True, exist_ok=True)
            found = _read(path / KEY)
            if found is None:
                _require_empty(path)
                _write(path / KEY, wanted)
        except OSError as error:
            raise OutputError(f"{path}: the folder cannot be used: {error.strerror}") from error
        if found is not None and found != wanted:
            raise TuneError(
                f"{path} holds the work of another tuning; choose another --work, or remove it: "
                f"{listed(list(_differences(found, wanted)))}"
            )
        if found is not None and not resume:
            raise TuneError(
                f"{path} holds the work of this tuning; give --resume to go on with it, or remove it"
            )
        return WorkFolder(path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which no other process works in the folder.

        Raises:
            TuneError: One does already.
        """
        with (self.path / LOCK).open("w") as lock:
            if not take_lock(lock):
                raise TuneError(
                    f"{self.path}: another `tune` works there now; wait for it, or choose another --work"
                )
            yield

    @contextmanager
    def written(self) -> Iterator[None]:
        """A block that writes into the folder.

        Raises:
            OutputError: The disk filled up meanwhile.
        """
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise OutputError(
                f"{self.path}: the disk filled up; what was done so far is kept there: make room, then "
                "--resume goes on"
            ) from error

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of a block to those that earlier runs took for it."""
        begun = time.monotonic()
        try:
            yield
        finally:
            seconds = self.seconds()
            seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - begun
            _write(self.path / TIMES, seconds)

    def seconds(self) -> dict[str, float]:
        """By stage, of all runs."""
        return _read(self.path / TIMES) or {}


def _require_empty(path: Path) -> None:
    """Somebody else's files are not to be mixed with ours, which are removed in the end."""
    left_behind = (path / KEY).with_suffix(PARTIAL)
    if any(file != left_behind for file in path.iterdir()):
        raise TuneError(
            f"{path}: expected an empty folder, or that of a tuning, with its {KEY}; found other files: "
            "choose another --work"
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise TuneError(f"{path}: expected JSON ({error}); remove the folder") from error
    return found if isinstance(found, dict) else {}


def _write(path: Path, value: Mapping[str, Any]) -> None:
    partial = path.with_suffix(PARTIAL)
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            yield f"{name}: {_shown(found.get(name))} there, {_shown(wanted.get(name))} now"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
