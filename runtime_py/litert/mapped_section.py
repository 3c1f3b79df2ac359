"""Regions of a file as the bytes of an array: mapped side by side, not read.

LiteRT reads a model where it is. So weights cost no memory but the system's own cache of the file, and
pages that are never touched are never loaded. Where a file cannot be mapped, the regions are read.

An array keeps its memory: it is unmapped when nobody has the array any more.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from ctypes import c_int, c_long, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

MAP_FIXED = 16
FAILED = c_void_p(-1).value


def can_map() -> bool:
    """Whether regions can be mapped side by side: the flag above is that of Linux."""
    return sys.platform == "linux"


@dataclass(frozen=True)
class FileRegion:
    """``nbytes`` of a file from ``begin`` on, to be at byte ``at`` of the contents."""

    begin: int
    nbytes: int
    at: int = 0

    @property
    def end(self) -> int:
        """Where it ends in the contents."""
        return self.at + self.nbytes

    @property
    def on_pages(self) -> bool:
        return self.begin % mmap.PAGESIZE == 0 and self.at % mmap.PAGESIZE == 0


class MappedSection:
    """Regions of a file, as ``content``.

    Args:
        path: The file.
        regions: In the order of the contents, the first at 0; where one of them does not begin on a
            page, all are read instead of mapped. Between them are zeros.
    """

    def __init__(self, path: Path, *regions: FileRegion) -> None:
        with path.open("rb") as stream:
            mapped = _mapped(stream, regions)
            self.mapped = mapped is not None
            self.content = _read(stream, regions) if mapped is None else mapped

    def edit(self, nbytes: int, function: Callable[[memoryview], object]) -> None:
        """Let ``function`` write to the first ``nbytes``; the file stays as it is.

        Raises:
            OSError: There is no memory for what it writes.
        """
        address = self.content.ctypes.data
        if _libc().mprotect(address, nbytes, mmap.PROT_READ | mmap.PROT_WRITE):
            raise _failure()
        function(np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)).data)


def _mapped(stream: BufferedReader, regions: Sequence[FileRegion]) -> Bytes | None:
    """None where they cannot be mapped."""
    if not can_map() or not all(region.nbytes and region.on_pages for region in regions):
        return None
    content = _reserved(regions[-1].end, mmap.PROT_READ)
    with suppress(OSError):  # some file systems refuse
        for region in regions:
            _map(stream.fileno(), region, content.ctypes.data)
        return content
    return None


def _read(stream: BufferedReader, regions: Sequence[FileRegion]) -> Bytes:
    content = _reserved(regions[-1].end, mmap.PROT_READ | mmap.PROT_WRITE)
    for region in regions:
        stream.seek(region.begin)
        stream.readinto(content[region.at : region.end].data)
    return content


def _reserved(nbytes: int, protection: int) -> Bytes:
    """So many zeros, on a page boundary.

    Only pages that can be written count as memory that the system has promised, and where it promises
    no more than it has, a large number of those would be refused.
    """
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return np.frombuffer(mmap.mmap(-1, nbytes, flags=private, prot=protection), np.uint8)


def _map(descriptor: int, region: FileRegion, start: int) -> None:
    """Map a region over reserved memory, which Python's ``mmap`` has no call for."""
    flags = mmap.MAP_PRIVATE | MAP_FIXED
    where, begin = start + region.at, region.begin
    found = _libc().mmap(where, region.nbytes, mmap.PROT_READ, flags, descriptor, begin)
    if found == FAILED:
        raise _failure()


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = c_void_p
    library.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_long]
    library.mprotect.argtypes = [c_void_p, c_size_t, c_int]
    return library


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
