"""Inputs that once did harm, kept in ``tests/corpus/TARGET/PART.DIGEST`` and read again by the gate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fuzzing.target import Case

CORPUS = Path(__file__).resolve().parent.parent.parent / "tests" / "corpus"

LARGEST = 100_000
"""Bytes of an input that is kept; a larger one becomes a test by hand."""


def kept(target: str, folder: Path = CORPUS) -> Iterator[Case]:
    """The inputs of a target."""
    for path in sorted((folder / target).glob("*.*")):
        yield Case(path.stem, path.read_bytes())


def keep(target: str, case: Case, folder: Path = CORPUS) -> Path | None:
    """Write an input into the corpus; None if it is too large for it."""
    if len(case.content) > LARGEST:
        return None
    digest = hashlib.sha256(case.content).hexdigest()[:12]
    path = folder / target / f"{case.part}.{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(case.content)
    return path
