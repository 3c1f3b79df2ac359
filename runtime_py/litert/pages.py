"""Memory by the page, from the C library: what Python's ``mmap`` has no calls for.

Addresses are numbers, and nothing here knows what lies there. Linux only.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import c_int, c_long, c_size_t, c_void_p
from functools import cache
from typing import Any

PROT_READ, PROT_WRITE = 1, 2
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 2, 16, 32
FAILED = c_void_p(-1).value

PyBUF_WRITE = 0x200


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = c_void_p
    library.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_long]
    library.mprotect.argtypes = [c_void_p, c_size_t, c_int]
    library.munmap.argtypes = [c_void_p, c_size_t]
    return library


def reserve(nbytes: int) -> int:
    """The address of so many bytes of zeros, on a page boundary.

    They are read-only: only pages that can be written count as memory that the system has promised,
    and where it promises no more than it has, a large reservation would be refused.

    Raises:
        OSError: There is no room for them.
    """
    return _mmap(None, nbytes, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)


def map_file(address: int, nbytes: int, descriptor: int, begin: int) -> None:
    """Map a region of a file, read-only, over reserved memory.

    Raises:
        OSError: The file cannot be mapped.
    """
    _mmap(address, nbytes, MAP_PRIVATE | MAP_FIXED, descriptor, begin)


def blank(address: int, nbytes: int) -> None:
    """Put zeros, read-only, in the place of what is mapped there.

    Raises:
        OSError: There are too many mappings.
    """
    _mmap(address, nbytes, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0)


def allow_writing(address: int, nbytes: int) -> None:
    """Make pages writable; what is written is private to this process.

    Raises:
        OSError: There is no memory for it.
    """
    if _library().mprotect(address, nbytes, PROT_READ | PROT_WRITE):
        raise _failure()


def release(address: int, nbytes: int) -> None:
    """Unmap pages; nobody may look there any more."""
    if _library().munmap(address, nbytes):
        raise _failure()


def writable_view(address: int, nbytes: int) -> memoryview:
    """Writable memory as Python sees it; the view must be released before the memory is."""
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, ctypes.c_ssize_t, c_int)
    from_memory: Any = prototype(("PyMemoryView_FromMemory", ctypes.pythonapi))
    view: memoryview = from_memory(address, nbytes, PyBUF_WRITE)
    return view


def _mmap(address: int | None, nbytes: int, flags: int, descriptor: int, begin: int) -> int:
    found: int = _library().mmap(address, nbytes, PROT_READ, flags, descriptor, begin)
    if found == FAILED:
        raise _failure()
    return found


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
