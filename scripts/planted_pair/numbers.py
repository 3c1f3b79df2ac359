"""Random bfloat16 numbers, cheaply: as many as a 10 GB checkpoint needs.

Numbers are uniform with mean 0 and variance 1. bfloat16 is handled as uint16 bit patterns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from quantize.bfloat16 import Floats, to_bfloat16

Bits = NDArray[np.uint16]

POOL_ELEMENTS = 1 << 22
BLOCK_ELEMENTS = POOL_ELEMENTS // 2
EXPONENT_BIT = 7
SIGN_BIT = 15

LEVELS: Floats = ((np.arange(256) - 127.5) * (3**0.5 / 127.5)).astype(np.float32)
"""A number for every byte; none is zero, none is tiny."""


def to_bits(values: Floats) -> Bits:
    """Round float32 to the nearest bfloat16."""
    return (to_bfloat16(values).view(np.uint32) >> 16).astype(np.uint16)


def to_floats(bits: Bits) -> Floats:
    """The float32 that a bfloat16 stands for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def uniform(generator: np.random.Generator, *shape: int) -> Floats:
    """Fresh numbers."""
    data = np.frombuffer(generator.bytes(int(np.prod(shape))), np.uint8)
    return LEVELS[data].reshape(shape)


class Pool:
    """A block of numbers from which large random matrices are cut, at random places."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng([seed, POOL_ELEMENTS])
        self._bits = to_bits(uniform(self._generator, POOL_ELEMENTS))

    def matrix(self, rows: int, columns: int) -> Iterator[Bits]:
        """Blocks of a [rows, columns] matrix that keeps the size of what it multiplies.

        The scale is a power of two (a subtraction from the exponent), near columns ** -0.5.
        """
        shift = round(np.log2(columns) / 2) << EXPONENT_BIT
        left = rows * columns
        while left:
            count = min(left, BLOCK_ELEMENTS)
            start = int(self._generator.integers(POOL_ELEMENTS - count + 1))
            yield self._bits[start : start + count] - np.uint16(shift)
            left -= count
