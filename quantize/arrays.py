"""Rows of float32 to rows of codes, and back.

Symmetric quantisation with one scale per row: ``w = code * scale``. The codes are narrow (the most
negative one is unused), which is what LiteRT's kernels expect of weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantize.recipe import Storage

Floats = NDArray[np.float32]

LARGEST_CODE = {Storage.INT8: 127, Storage.INT4: 7}


@dataclass(frozen=True)
class StoredRows:
    """A block of rows as it goes to disk. ``scales`` is empty for float32."""

    data: bytes
    scales: Floats


def store_rows(rows: Floats, storage: Storage) -> StoredRows:
    """Encode ``rows`` ``[R, C]``; blocks of rows can be encoded one after the other.

    Raises:
        ValueError: C is odd and the storage packs two elements a byte.
    """
    if storage is Storage.FLOAT32:
        return StoredRows(
            np.ascontiguousarray(rows, dtype="<f4").tobytes(), np.empty(0, np.float32)
        )
    codes, scales = quantize_rows(rows, storage)
    data = codes.tobytes() if storage is Storage.INT8 else pack_int4(codes)
    return StoredRows(data, scales)


def quantize_rows(rows: Floats, storage: Storage) -> tuple[NDArray[np.int8], Floats]:
    """Codes ``[R, C]`` and scales ``[R]`` by the largest magnitude of each row.

    A row whose scale would be zero or subnormal is stored as zeros: 1 / scale is not finite there.
    """
    largest = LARGEST_CODE[storage]
    peak = np.maximum(rows.max(axis=1), -rows.min(axis=1))
    scales = (peak / np.float32(largest)).astype(np.float32)
    scales[scales < np.finfo(np.float32).tiny] = 1.0
    codes = rows * (np.float32(1) / scales)[:, None]
    np.rint(codes, out=codes)
    np.clip(codes, -largest, largest, out=codes)
    return codes.astype(np.int8), scales


def dequantize_rows(codes: NDArray[np.int8], scales: Floats) -> Floats:
    """The values that ``codes`` ``[R, C]`` stand for."""
    return (codes * scales[:, None]).astype(np.float32)


def pack_int4(codes: NDArray[np.int8]) -> bytes:
    """Two codes a byte, the earlier one in the low half."""
    if codes.shape[-1] % 2:
        raise ValueError(f"int4 needs rows of even length, found {codes.shape[-1]}")
    pairs = np.ascontiguousarray(codes).view("<u2")  # the earlier code is the low byte
    return ((pairs & 0x0F) | ((pairs >> 4) & 0xF0)).astype(np.uint8).tobytes()


def unpack_int4(data: bytes, shape: tuple[int, int]) -> NDArray[np.int8]:
    """The codes that :func:`pack_int4` packed."""
    packed = np.frombuffer(data, np.int8)
    low = (packed << 4).astype(np.int8) >> 4
    return np.stack([low, packed >> 4], axis=-1).reshape(shape)
