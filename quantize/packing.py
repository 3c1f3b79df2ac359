"""Codes narrower than a byte, several a byte, the earlier ones in the lower bits.

This is the order of LiteRT's kernels for int4 and int2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int8]


def pack(codes: Codes, bits: int) -> bytes:
    """Codes ``[R, C]`` of 8, 4 or 2 bits as bytes.

    Raises:
        ValueError: A row does not fill whole bytes.
    """
    if bits == 8:
        return np.ascontiguousarray(codes).tobytes()
    if codes.shape[-1] % (8 // bits):
        raise ValueError(
            f"int{bits} needs rows of a multiple of {8 // bits}, found {codes.shape[-1]}"
        )
    count = 8 // bits
    parts = (np.ascontiguousarray(codes).view(np.uint8) & ((1 << bits) - 1)).reshape(-1, count)
    packed = np.zeros(len(parts), np.uint8)
    for place in range(count):
        packed |= parts[:, place] << np.uint8(place * bits)
    return packed.tobytes()


def unpack(data: bytes, bits: int, shape: tuple[int, int]) -> Codes:
    """The codes that :func:`pack` packed."""
    packed = np.frombuffer(data, np.int8)
    if bits == 8:
        return packed.reshape(shape)
    starts = range(0, 8, bits)
    parts = [(packed << (8 - bits - start)).astype(np.int8) >> (8 - bits) for start in starts]
    return np.stack(parts, axis=-1).reshape(shape)
