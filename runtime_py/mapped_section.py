"""Regions of a file as a ``bytes`` object that is a mapping and not a copy.

LiteRT's ``CompiledModel.from_buffer`` insists on ``bytes`` (memoryview, mmap and numpy arrays are
TypeErrors) and then reads through the pointer without copying; so what costs memory is the ``bytes``
object alone. CPython keeps the contents of one right behind its header, so a header written in front
of a mapped region makes that region the contents; several regions can be mapped side
by side. Measured on a 310 MB section: 366 MB of anonymous memory after reading it, 0 more after mapping
it; pages that are never touched are never loaded.

Only CPython with its usual object layout can do this; elsewhere the regions are read instead.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

Result = TypeVar("Result")

HEADER = bytes.__basicsize__ - 1
"""Bytes before the contents of a ``bytes`` object: reference count, type, size, hash."""

SIZE_OFFSET = 2 * ctypes.sizeof(ctypes.c_void_p)
HASH_OFFSET = SIZE_OFFSET + ctypes.sizeof(ctypes.c_ssize_t)
MANY_REFERENCES = 1 << 29
"""So many that the object is never freed: its memory is not Python's to free."""

PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_FIXED = 1, 2, 2, 16  # Linux
MAPPING_FAILED = ctypes.c_void_p(-1).value


def can_map() -> bool:
    """Whether this interpreter keeps ``bytes`` the way :class:`MappedSection` needs."""
    usual = sys.implementation.name == "cpython" and sys.platform == "linux"
    free_threaded = bool(getattr(sys.flags, "gil", 1) is False)
    return usual and not free_threaded and HASH_OFFSET + ctypes.sizeof(ctypes.c_ssize_t) == HEADER


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
    """Mapped regions of a file; call :meth:`close` when nothing uses them any more.

    Args:
        path: The file.
        regions: In the order of the contents, the first at 0; where one of them does not begin on a
            page, all are read instead of mapped. Between them are zeros.
    """

    def __init__(self, path: Path, *regions: FileRegion) -> None:
        self._reserved: mmap.mmap | None = None
        self._contents: Any = None
        with path.open("rb") as stream:
            if can_map() and all(region.nbytes and region.on_pages for region in regions):
                self._map(stream.fileno(), regions)
            else:
                self._contents = b"".join(_read(stream, regions))

    @property
    def mapped(self) -> bool:
        """False if the region was read into memory."""
        return self._reserved is not None

    def use(self, function: Callable[[bytes], Result]) -> Result:
        """``function`` of the contents. It may keep the address, not the object."""
        return function(self._contents)

    def edit(self, nbytes: int, function: Callable[[memoryview], object]) -> None:
        """Let ``function`` write to the first ``nbytes``; the file stays as it is."""
        if self._reserved is None:
            changed = bytearray(self._contents)
            function(memoryview(changed)[:nbytes])
            self._contents = bytes(changed)
            return
        with memoryview(self._reserved) as whole, whole[mmap.PAGESIZE :] as contents:
            handle = ctypes.c_char.from_buffer(contents)
            _allow_writing(ctypes.addressof(handle), nbytes)
            del handle
            with contents[:nbytes] as head:
                function(head)

    def close(self) -> None:
        """Unmap; the contents must not be in use."""
        self._contents = None
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _map(self, descriptor: int, regions: Sequence[FileRegion]) -> None:
        nbytes = regions[-1].end
        reserved = mmap.mmap(-1, mmap.PAGESIZE + nbytes)
        handle = ctypes.c_char.from_buffer(reserved)
        contents = ctypes.addressof(handle) + mmap.PAGESIZE
        del handle
        for region in regions:
            _map_fixed(contents + region.at, region.nbytes, descriptor, region.begin)
        header = contents - HEADER
        ctypes.memmove(header, id(b"template"), HEADER)  # the type pointer, above all
        ctypes.c_uint32.from_address(header).value = MANY_REFERENCES
        ctypes.c_ssize_t.from_address(header + SIZE_OFFSET).value = nbytes
        ctypes.c_ssize_t.from_address(header + HASH_OFFSET).value = -1
        self._contents = ctypes.cast(header, ctypes.py_object).value
        self._reserved = reserved
        assert type(self._contents) is bytes
        assert len(self._contents) == nbytes


def _read(stream: BinaryIO, regions: Sequence[FileRegion]) -> Iterator[bytes]:
    end = 0
    for region in regions:
        stream.seek(region.begin)
        yield b"\0" * (region.at - end)
        yield stream.read(region.nbytes)
        end = region.end


def _allow_writing(address: int, nbytes: int) -> None:
    """Make mapped pages writable; what is written is private to this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if libc.mprotect(address, nbytes, PROT_READ | PROT_WRITE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _map_fixed(address: int, nbytes: int, descriptor: int, begin: int) -> None:
    """Map a region of a file, read-only, over reserved memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    flags = MAP_PRIVATE | MAP_FIXED
    if libc.mmap(address, nbytes, PROT_READ, flags, descriptor, begin) == MAPPING_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
