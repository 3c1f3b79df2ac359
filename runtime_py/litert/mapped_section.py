"""Regions of a file as a ``bytes`` object that is a mapping and not a copy.

LiteRT's ``CompiledModel.from_buffer`` insists on ``bytes`` (memoryview, mmap and numpy arrays are
TypeErrors) and then reads through the pointer without copying; so what costs memory is the ``bytes``
object alone. CPython keeps the contents of one right behind its header, so a header written in front
of a mapped region makes that region the contents; several regions can be mapped side
by side. Measured on a 310 MB section: 366 MB of anonymous memory after reading it, 0 more after mapping
it; pages that are never touched are never loaded.

The page with the header is never unmapped, nor the address of the first contents: 4 KiB that make it
harmless that someone, a traceback above all, holds the object longer than its contents exist.

Only CPython with its usual object layout can do this; elsewhere, and where the file cannot be mapped,
the regions are read instead.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from runtime_py.litert import pages
from runtime_py.litert.failures import let_go

Result = TypeVar("Result")

HEADER = bytes.__basicsize__ - 1
"""Bytes before the contents of a ``bytes`` object: reference count, type, size, hash."""

SIZE_OFFSET = 2 * ctypes.sizeof(ctypes.c_void_p)
HASH_OFFSET = SIZE_OFFSET + ctypes.sizeof(ctypes.c_ssize_t)
MANY_REFERENCES = 1 << 29
"""So many that the object is never freed: its memory is not Python's to free."""

TERMINATOR = 1
"""Bytes behind the contents that C code may look at, even if there are no others."""


def can_map() -> bool:
    """Whether this interpreter keeps ``bytes`` the way :class:`MappedSection` needs."""
    usual = sys.implementation.name == "cpython" and sys.platform == "linux"
    return usual and HASH_OFFSET + ctypes.sizeof(ctypes.c_ssize_t) == HEADER


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

    One that is dropped without it stays mapped, for whoever still has the address.

    Args:
        path: The file.
        regions: In the order of the contents, the first at 0; where one of them does not begin on a
            page, all are read instead of mapped. Between them are zeros.
    """

    def __init__(self, path: Path, *regions: FileRegion) -> None:
        self._contents: Any = None
        self._address: int | None = None
        self._nbytes = regions[-1].end
        with path.open("rb") as stream:
            if can_map() and all(region.nbytes and region.on_pages for region in regions):
                with suppress(OSError):  # some file systems refuse
                    self._map(stream.fileno(), regions)
            if self._address is None:
                self._contents = b"".join(_read(stream, regions))

    @property
    def mapped(self) -> bool:
        """False if the regions were read into memory, or are closed."""
        return self._address is not None

    def use(self, function: Callable[[bytes], Result]) -> Result:
        """``function`` of the contents. It may keep the address, not the object.

        If it fails, what its frames hold is let go: half a model must not outlive the contents.
        """
        try:
            return function(self._contents)
        except BaseException as error:
            let_go(error)
            raise

    def edit(self, nbytes: int, function: Callable[[memoryview], object]) -> None:
        """Let ``function`` write to the first ``nbytes``; the file stays as it is.

        Raises:
            OSError: There is no memory for what it writes.
        """
        if self._address is None:
            changed = bytearray(self._contents)
            function(memoryview(changed)[:nbytes])
            self._contents = bytes(changed)
            return
        pages.allow_writing(self._address, nbytes)
        with pages.writable_view(self._address, nbytes) as head:
            function(head)

    def close(self) -> None:
        """Unmap; the contents must not be in use. The object, if someone still has it, is empty."""
        self._contents = None
        if self._address is not None:
            _size(self._address).value = 0
            pages.blank(self._address, mmap.PAGESIZE)
            if (rest := self._nbytes + TERMINATOR - mmap.PAGESIZE) > 0:
                pages.release(self._address + mmap.PAGESIZE, rest)
            self._address = None

    def _map(self, descriptor: int, regions: Sequence[FileRegion]) -> None:
        reserved = mmap.PAGESIZE + self._nbytes + TERMINATOR
        page = pages.reserve(reserved)
        address = page + mmap.PAGESIZE
        try:
            pages.allow_writing(page, mmap.PAGESIZE)
            for region in regions:
                pages.map_file(address + region.at, region.nbytes, descriptor, region.begin)
        except OSError:
            pages.release(page, reserved)
            raise
        self._contents = _bytes_object(address, self._nbytes)
        self._address = address


def _bytes_object(address: int, nbytes: int) -> bytes:
    """The object whose contents are at ``address``; its header is written in front of them."""
    header = address - HEADER
    ctypes.memmove(header, id(b"template"), HEADER)  # the type pointer, above all
    ctypes.c_uint32.from_address(header).value = MANY_REFERENCES
    _size(address).value = nbytes
    ctypes.c_ssize_t.from_address(header + HASH_OFFSET).value = -1
    made = ctypes.cast(header, ctypes.py_object).value
    assert type(made) is bytes
    assert len(made) == nbytes
    return made


def _size(address: int) -> ctypes.c_ssize_t:
    """Where the object with its contents at ``address`` keeps its size."""
    return ctypes.c_ssize_t.from_address(address - HEADER + SIZE_OFFSET)


def _read(stream: BinaryIO, regions: Sequence[FileRegion]) -> Iterator[bytes]:
    end = 0
    for region in regions:
        stream.seek(region.begin)
        yield b"\0" * (region.at - end)
        yield stream.read(region.nbytes)
        end = region.end
