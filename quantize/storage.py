"""How the elements of one tensor can be stored.

LiteRT's CPU kernels execute every storage that is listed, for matrices and for tables (the tests run each of
them). What they refuse is not listed: int2 and int8 in blocks, negative scales.
"""

from __future__ import annotations

import enum


class Storage(enum.StrEnum):
    """Element type and what shares a scale. Symmetric: ``value = code * scale``."""

    FLOAT32 = "float32"
    INT8 = "int8"
    """One scale per row (output channel or token)."""
    INT4 = "int4"
    """One scale per row, two elements a byte."""
    INT4_BLOCK32 = "int4-block32"
    """One scale per 32 elements of a row."""
    INT4_BLOCK64 = "int4-block64"
    INT4_BLOCK128 = "int4-block128"
    INT2 = "int2"
    """One scale per row, four elements a byte."""

    @property
    def bits(self) -> int:
        """Bits of one element, scales not counted."""
        return {"float32": 32, "int8": 8, "int4": 4, "int2": 2}[self.value.split("-")[0]]

    @property
    def block(self) -> int | None:
        """Elements that share a scale; None where a whole row does."""
        _, _, block = self.value.partition("-block")
        return int(block) if block else None

    @property
    def quantised(self) -> bool:
        """Whether elements are codes with a scale."""
        return self is not Storage.FLOAT32

    @property
    def largest_code(self) -> int:
        """The largest code of the symmetric range: 127, 7 or 1."""
        return (1 << (self.bits - 1)) - 1

    @property
    def lowest_code(self) -> int:
        """Kernels take int8 weights to be symmetric; narrower codes may use all their values."""
        return -127 if self is Storage.INT8 else -self.largest_code - 1

    def scales_per_row(self, row_length: int) -> int:
        """Scales that a row of ``row_length`` elements has."""
        if not self.quantised:
            return 0
        return 1 if self.block is None else row_length // self.block

    def divisor(self) -> int:
        """What the length of a row must be a multiple of."""
        return self.block or max(1, 8 // self.bits)

    def fits(self, row_length: int) -> bool:
        """Whether rows of this length can be stored so."""
        return row_length % self.divisor() == 0

    def nearest_fit(self, row_length: int) -> Storage:
        """What to use instead for rows that do not fit, in about as many bytes."""
        blocks = (Storage.INT4_BLOCK128, Storage.INT4_BLOCK64, Storage.INT4_BLOCK32, Storage.INT4)
        return next((storage for storage in blocks if storage.fits(row_length)), Storage.INT8)
