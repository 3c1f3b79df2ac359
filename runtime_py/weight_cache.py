"""Packed weights kept in files: a file's name says what is in it, a checksum beside it that it still is.

XNNPACK believes a file of packed weights: it takes what it finds under a weight's number in the graph.
So two bundles never share a file, whatever they are called, and a damaged file is made anew. Checksums
tell damage, not malice: the folder is the user's own.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from exporter.bundle.integrity import check_sections
from exporter.bundle.layout import SHA256_KEY
from exporter.bundle.reader import Bundle, BundleSection
from exporter.errors import OutputError
from exporter.files.checksum import sha256
from exporter.files.output import scratch_folder
from runtime_py.bench.machine import describe_machine

logger = logging.getLogger(__name__)

CHECKSUM = ".sha256"
"""What the name of a file's checksum ends with; ``sha256sum -c`` reads it."""

KEY_DIGITS = 32


def content_key(
    bundle: Bundle, sections: Sequence[BundleSection], library: str, settings: str = ""
) -> str:
    """What the packed weights of ``sections`` depend on, as hexadecimal digits.

    The processor is part of it: each has kernels of its own, which want weights in an order of their own.

    Args:
        bundle: Its header, whose checksums are believed; a section without one is read.
        sections: The sections whose weights are packed.
        library: The installed package that packs them.
        settings: What it is told.
    """
    sums = (
        str(section.metadata.get(SHA256_KEY))
        if SHA256_KEY in section.metadata
        else sha256(bundle.path, begin=section.begin, nbytes=section.nbytes)
        for section in sections
    )
    machine = describe_machine()
    processor = (machine.architecture, machine.processor, *machine.instructions)
    parts = (library, _version(library), settings, *processor, *sums)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:KEY_DIGITS]


def _version(library: str) -> str:
    """Nothing where it is not installed, which is for those to say who need it."""
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


@contextmanager
def kept_file(file: Path, bundle: Bundle, sections: Sequence[BundleSection]) -> Iterator[Path]:
    """The file itself if it is intact; else another, to be written within the block and kept as ``file``.

    Raises:
        BundleError: The sections it was made from do not have their checksums.
        OutputError: It cannot be kept.
    """
    make_folder(file.parent)
    if _intact(file):
        yield file
        return
    with scratch_folder(file) as scratch:
        yield (made := scratch / file.name)
        if made.exists():
            _check(bundle, sections)
            _keep(made, file)


@contextmanager
def kept_folder(folder: Path, bundle: Bundle, sections: Sequence[BundleSection]) -> Iterator[Path]:
    """A folder for one run, with the intact files of ``folder``; what is added to it is kept there.

    Raises:
        BundleError: The sections that files were made from do not have their checksums.
        OutputError: They cannot be kept.
    """
    make_folder(folder)
    with scratch_folder(folder / "run") as scratch:
        (run := scratch / "files").mkdir()
        for file in folder.iterdir():
            if _intact(file):
                with suppress(OSError):  # a file system without hard links: made anew
                    os.link(file, run / file.name)
        known = set(run.iterdir())
        yield run
        if added := sorted(set(run.iterdir()) - known):
            _check(bundle, sections)
        for made in added:
            _keep(made, folder / made.name)


def make_folder(path: Path) -> None:
    """Make a folder for packed weights, and those it lies in.

    Raises:
        OutputError: There can be none.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: packed weights cannot be kept there: {error.strerror}; choose another "
            "--weight-cache, or none"
        ) from error


def _check(bundle: Bundle, sections: Sequence[BundleSection]) -> None:
    """Weights of a damaged bundle must not be kept under the name of the undamaged ones."""
    check_sections(replace(bundle, sections=tuple(sections)), weights=True)


def _checksum_of(file: Path) -> Path:
    return file.with_name(f"{file.name}{CHECKSUM}")


def _intact(file: Path) -> bool:
    """Whether a file is there, with the checksum it was kept with."""
    noted = _checksum_of(file)
    if not file.is_file() or not noted.is_file():
        return False
    intact = noted.read_bytes().split()[:1] == [sha256(file).encode()]
    if not intact:
        logger.error("%s: damaged; the weights are packed anew", file)
    return intact


def _keep(made: Path, file: Path) -> None:
    """Two runs that make one file make it equal, so it does not matter whose checksum stays."""
    noted = _checksum_of(made)
    noted.write_text(f"{sha256(made)}  {file.name}\n", encoding="utf-8")
    noted.replace(_checksum_of(file))
    made.replace(file)
