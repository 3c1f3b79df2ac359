"""Rows of float32 to rows of codes, and back.

Symmetric: ``w = code * scale``. A row ``[C]`` is ``n`` groups of ``C / n`` elements with a scale each:
one group where a scale serves the whole row, ``C / 32`` of them in blocks of 32. Codes narrower than a
byte are packed several a byte, the earlier ones in the lower bits, as LiteRT's kernels for int4 and int2
read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quantize.bfloat16 import Floats
from quantize.clipping import clipped_scales
from quantize.recipe import Algorithm
from quantize.scales import nearest, peak_scales, representable
from quantize.storage import Storage

Codes = NDArray[np.int8]


@dataclass(frozen=True)
class QuantisedRows:
    """Codes ``[R, C]`` and scales ``[R, n]``."""

    codes: Codes
    scales: Floats


@dataclass(frozen=True)
class StoredRows:
    """A block of rows as it goes to disk: packed codes and scales ``[R, n]``.

    For float32 ``n`` is 0. Scales of blocks are exact in the 16 bits they are stored in.
    """

    data: bytes
    scales: Floats

    @property
    def rows(self) -> int:
        return len(self.scales)


class ReadyRows(Protocol):
    """A tensor whose codes were made elsewhere: imported, or chosen with calibration."""

    @property
    def storage(self) -> Storage:
        """The storage of these codes, whatever a recipe says."""

    def blocks(self) -> Iterator[StoredRows]:
        """All rows in order, some at a time."""


def store_rows(
    rows: Floats, storage: Storage, algorithm: Algorithm = Algorithm.MINMAX
) -> StoredRows:
    """Encode ``rows`` ``[R, C]``; blocks of rows can be encoded one after the other.

    Raises:
        ValueError: C does not fit the storage, or the algorithm needs more than the rows.
    """
    if not storage.quantised:
        return StoredRows(
            np.ascontiguousarray(rows, dtype="<f4").tobytes(), np.empty((len(rows), 0), np.float32)
        )
    return packed_rows(quantize_rows(rows, storage, algorithm), storage)


def packed_rows(quantised: QuantisedRows, storage: Storage) -> StoredRows:
    """Codes and scales as they go to disk, for codes that were chosen elsewhere.

    Raises:
        ValueError: C does not fit the storage, or a scale is not one that kernels can read.
    """
    if not np.array_equal(representable(quantised.scales, storage), quantised.scales):
        raise ValueError(f"scales of {storage} must be positive and fit in the bits they have")
    return StoredRows(pack(quantised.codes, storage.bits), quantised.scales)


def quantize_rows(
    rows: Floats, storage: Storage, algorithm: Algorithm = Algorithm.MINMAX
) -> QuantisedRows:
    """Codes and scales of ``rows`` ``[R, C]``.

    A group whose scale would be zero or subnormal is stored as zeros: 1 / scale is not finite there.

    Raises:
        ValueError: C does not fit the storage, or the algorithm needs more than the rows.
    """
    if not storage.fits(rows.shape[1]):
        raise ValueError(
            f"{storage} needs rows of a multiple of {storage.divisor()}, found {rows.shape[1]}"
        )
    groups = rows.reshape(len(rows), storage.scales_per_row(rows.shape[1]), -1)
    if algorithm is Algorithm.CLIP:
        scales = clipped_scales(groups, storage)
    elif algorithm is Algorithm.MINMAX:
        scales = peak_scales(groups, storage)
    else:
        raise ValueError(f"{algorithm} needs calibration, not only rows")
    codes = nearest(groups, scales, storage).astype(np.int8)
    return QuantisedRows(codes.reshape(rows.shape), scales)


def dequantize_rows(quantised: QuantisedRows) -> Floats:
    """The values ``[R, C]`` that codes stand for."""
    codes, scales = quantised.codes, quantised.scales
    groups = codes.reshape(*scales.shape, -1) * scales[..., None]
    return groups.reshape(codes.shape).astype(np.float32, copy=False)


def unstored_rows(stored: StoredRows, storage: Storage, row_length: int) -> QuantisedRows:
    """Codes and scales back from what :func:`packed_rows` gave."""
    codes = unpack(stored.data, storage.bits, (stored.rows, row_length))
    return QuantisedRows(codes, stored.scales)


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
