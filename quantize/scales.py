"""Which scales kernels can read, and the plainest way to choose them.

One scale per row is a float32. Scales of blocks are stored as float16, and XNNPACK keeps only the 8
significant bits of bfloat16 of them; a scale must be exact in both, or the kernel computes with
another one than was used to choose the codes. All must be positive.
"""

from __future__ import annotations

import numpy as np

from quantize.bfloat16 import Floats, to_bfloat16
from quantize.storage import Storage

LARGEST_BLOCK_SCALE = 65280.0
"""Largest value with 8 significant bits in float16's range."""


def representable(scales: Floats, storage: Storage) -> Floats:
    """The nearest scales that can be stored; 1 for what would be zero or, in float32, subnormal."""
    if storage.block is None:
        return np.where(scales < np.finfo(np.float32).tiny, np.float32(1), scales)
    short = np.minimum(to_bfloat16(scales), np.float32(LARGEST_BLOCK_SCALE))
    half = short.astype(np.float16).astype(np.float32)
    return np.where(half <= 0, np.float32(1), half)


def peak_scales(groups: Floats, storage: Storage) -> Floats:
    """Scales ``[R, n]`` that give the largest magnitude of each group ``[R, n, C]`` the largest code."""
    peak = np.maximum(groups.max(axis=-1), -groups.min(axis=-1))
    return representable((peak / np.float32(storage.largest_code)).astype(np.float32), storage)


def nearest(groups: Floats, scales: Floats, storage: Storage) -> Floats:
    """Codes, still as floats, nearest to ``groups`` ``[R, n, C]`` in units of ``scales`` ``[R, n]``."""
    codes = groups * (np.float32(1) / scales)[..., None]
    np.rint(codes, out=codes)
    np.clip(codes, storage.lowest_code, storage.largest_code, out=codes)
    return codes
