"""What is slow to make is made once, also where several processes run tests side by side (pytest-xdist)."""

from __future__ import annotations

import fcntl
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.lowering.graph_cache import default_folder

GRAPHS = Path(__file__).parent / "graphs.zip"
"""What a whole run keeps of the graphs it lowers. Names say what graphs depend on, so that none can be stale:
what is not there is lowered. ``scripts/ship_graphs.py --kept FOLDER`` makes it."""

STARTED = time.time()


def unpack_graphs() -> None:
    """Keep the graphs in :data:`GRAPHS` where exports look for them."""
    folder = default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "tests.lock"), zipfile.ZipFile(GRAPHS) as packed:
        for name in packed.namelist():
            if not (folder / name).exists():
                part = folder / f"{name}.part"  # a run that is stopped leaves no half of a graph
                part.write_bytes(packed.read(name))
                part.replace(folder / name)


def lowered_anew() -> list[str]:
    """Names of the graphs that this run had to lower, because they are not in :data:`GRAPHS`."""
    with zipfile.ZipFile(GRAPHS) as packed:
        known = set(packed.namelist())
    kept = [*default_folder().glob("*.zip"), *default_folder().glob("*.tflite")]
    return [
        path.name for path in kept if path.name not in known and path.stat().st_mtime >= STARTED
    ]


def kept_graph(name: str, make: Callable[[], bytes]) -> bytes:
    """A graph that only tests lower, made now or in an earlier run; its name says what it depends on."""
    kept = default_folder() / f"test-{name}.tflite"
    with lowering():
        if not kept.is_file():
            part = kept.with_suffix(".part")  # a run that is stopped leaves no half of a graph
            part.write_bytes(make())
            part.replace(kept)
    return kept.read_bytes()


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A temporary folder of this run, the same in all its processes."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(path: Path, make: Callable[[Path], object]) -> Path:
    """A file or folder that ``make`` makes, unless a process of this run has made it already."""
    made = path.with_name(f"{path.name}.made")
    with _locked(path.with_name(f"{path.name}.lock")):
        if not made.exists():
            make(path)
            made.touch()
    return path


@contextmanager
def lowering() -> Iterator[None]:
    """While graphs are looked up, and lowered where they are not known: another process finds them kept then.

    Exports share the graphs of single signatures, and lowering takes two cores anyway.
    """
    folder = default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "tests.lock"):
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
