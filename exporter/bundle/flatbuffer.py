"""Reading flatbuffers that may be damaged or forged: every offset is checked before it is followed.

How much is looked at is bounded, too: tables may share their parts, so a small file can describe so many that
reading them would not end. Knows the encoding and no schema; see ``exporter.bundle.model_tables``.

Source: FlatBuffers' "Internals" (https://flatbuffers.dev/internals). The libraries' generated Python readers
check nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from exporter.errors import BundleError

SHARING = 8
"""How many times its own length may be looked at."""

LEAST_LOOKED_AT, MOST_LOOKED_AT = 1 << 16, 1 << 25
"""Bytes, however short or long the file is. All graphs of E4B together take 2 MB of them."""

OFFSET = 4
"""Bytes of an offset, and of the length of a vector."""


class Flatbuffer:
    """A flatbuffer's bytes, and how much more of them may be looked at.

    Args:
        content: The bytes; what follows the flatbuffer does no harm.
        where: What messages call it.
    """

    def __init__(self, content: memoryview | bytes, where: str) -> None:
        self.view = content if isinstance(content, memoryview) else memoryview(content)
        self.where = where
        self._left = min(max(SHARING * len(self.view), LEAST_LOOKED_AT), MOST_LOOKED_AT)

    def root(self) -> Table:
        """The table that holds all others.

        Raises:
            BundleError: There is none.
        """
        return Table(self, self.offset(0))

    def damaged(self, how: str) -> BundleError:
        """What is raised wherever the bytes are not what they should be."""
        return BundleError(f"{self.where}: the flatbuffer is damaged ({how})")

    def within(self, begin: int, nbytes: int) -> None:
        """Check that bytes are there.

        Raises:
            BundleError: They are not.
        """
        if begin < 0 or begin + nbytes > len(self.view):
            raise self.damaged(f"byte {begin + nbytes} of {len(self.view)} is looked for")

    def look(self, begin: int, nbytes: int) -> None:
        """Check that bytes are there, and count them.

        Raises:
            BundleError: They are not, or too many were looked at.
        """
        self.within(begin, nbytes)
        self._left -= nbytes
        if self._left < 0:
            raise self.damaged("its tables share their parts too often to be read")

    def unpack(self, form: str, begin: int) -> Any:
        """One number in the struct module's format."""
        self.look(begin, struct.calcsize(form))
        return struct.unpack_from(form, self.view, begin)[0]

    def offset(self, begin: int) -> int:
        """Where the offset at ``begin`` leads to."""
        return begin + int(self.unpack("<I", begin))

    def vector(self, begin: int, itemsize: int) -> tuple[int, int]:
        """Where the items of the vector at ``begin`` are, and their number."""
        count = int(self.unpack("<I", begin))
        self.within(begin + OFFSET, count * itemsize)
        return begin + OFFSET, count


class Table:
    """A table; its fields are numbered from 0 in the order of the schema."""

    def __init__(self, source: Flatbuffer, position: int) -> None:
        self.source, self.position = source, position
        fields = position - int(source.unpack("<i", position))
        nbytes = int(source.unpack("<H", fields))
        if nbytes < 4 or nbytes % 2:
            raise source.damaged(f"a list of fields has {nbytes} bytes")
        source.look(fields, nbytes)
        self._fields = struct.unpack_from(f"<{nbytes // 2 - 2}H", source.view, fields + 4)

    def _place(self, field: int) -> int | None:
        """Where a field is; None if it has its default."""
        offset = self._fields[field] if field < len(self._fields) else 0
        return self.position + offset if offset else None

    def number(self, field: int, form: str) -> Any:
        """A number in the struct module's format; 0 if it is left out."""
        place = self._place(field)
        return 0 if place is None else self.source.unpack(form, place)

    def text(self, field: int) -> str:
        """A string; empty if it is left out."""
        place = self._place(field)
        if place is None:
            return ""
        begin, count = self.source.vector(self.source.offset(place), 1)
        self.source.look(begin, count)
        try:
            return bytes(self.source.view[begin : begin + count]).decode()
        except UnicodeDecodeError as error:
            raise self.source.damaged(f"a name is no UTF-8 at byte {begin}") from error

    def numbers(self, field: int, form: str) -> tuple[Any, ...]:
        """A vector of numbers; empty if it is left out."""
        place, itemsize = self._place(field), struct.calcsize(f"<{form}")
        if place is None:
            return ()
        begin, count = self.source.vector(self.source.offset(place), itemsize)
        self.source.look(begin, count * itemsize)
        return struct.unpack_from(f"<{count}{form}", self.source.view, begin)

    def array(self, field: int, dtype: str, *, counted: bool = False) -> NDArray[Any]:
        """Such a vector as a view of the bytes; it counts as looked at only if ``counted``."""
        kind, place = np.dtype(dtype), self._place(field)
        if place is None:
            return np.empty(0, kind)
        begin, count = self.source.vector(self.source.offset(place), kind.itemsize)
        if counted:
            self.source.look(begin, count * kind.itemsize)
        return np.frombuffer(self.source.view, kind, count, begin)

    def length(self, field: int, itemsize: int) -> int:
        """The number of items of a vector, of so many bytes each."""
        place = self._place(field)
        if place is None:
            return 0
        return self.source.vector(self.source.offset(place), itemsize)[1]

    def table(self, field: int) -> Table | None:
        """A table within this one; None if it is left out."""
        place = self._place(field)
        return None if place is None else Table(self.source, self.source.offset(place))

    def tables(self, field: int) -> Tables:
        """A vector of tables; empty if it is left out."""
        place = self._place(field)
        if place is None:
            return Tables(self.source, 0, 0)
        return Tables(self.source, *self.source.vector(self.source.offset(place), OFFSET))


class Tables(Sequence[Table]):
    """A vector of tables, each read when it is asked for."""

    def __init__(self, source: Flatbuffer, begin: int, count: int) -> None:
        self._source, self._begin, self._count = source, begin, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Table: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Table]: ...
    def __getitem__(self, index: int | slice) -> Table | Sequence[Table]:
        """The table with this number, counted from 0.

        Raises:
            BundleError: There is none, or it is damaged.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise self._source.damaged(f"number {index} of {self._count} tables is looked for")
        return Table(self._source, self._source.offset(self._begin + OFFSET * index))

    def __iter__(self) -> Iterator[Table]:
        return map(self.__getitem__, range(self._count))
