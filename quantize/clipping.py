"""Scales with the least squared error.

Clipping the few largest values of a group makes its step finer for all others. Starting from a scale
below the peak's, two steps alternate, each of which can only lower the error: codes nearest to the
values for this scale, then the scale that fits these codes best, ``<w, c> / <c, c>``. Groups for which
that ends above the plain scale's error (rounding of 16-bit scales can do so) keep the plain scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantize.scales import nearest, peak_scales, representable
from quantize.storage import Storage

Floats = NDArray[np.float32]

STARTS = {8: (0.9,), 4: (0.8,), 2: (0.5, 0.35)}
"""Fractions of the plain scale to start from, by bits."""

ROUNDS = 4


def clipped_scales(groups: Floats, storage: Storage) -> Floats:
    """Scales ``[R, n]`` of ``groups`` ``[R, n, C]``, none with a larger squared error than the peak's."""
    plain = peak_scales(groups, storage)
    best, least = plain, squared_error(groups, plain, storage)
    for start in STARTS[storage.bits]:
        found = _improved(groups, plain * np.float32(start), storage)
        error = squared_error(groups, found, storage)
        best, least = np.where(error < least, found, best), np.minimum(error, least)
    return best


def squared_error(groups: Floats, scales: Floats, storage: Storage) -> Floats:
    """Of every group ``[R, n]``, with the nearest codes."""
    off = nearest(groups, scales, storage) * scales[..., None]
    off -= groups
    result: Floats = np.einsum("rnc,rnc->rn", off, off)
    return result


def _improved(groups: Floats, scales: Floats, storage: Storage) -> Floats:
    for _ in range(ROUNDS):
        codes = nearest(groups, scales, storage)
        power = np.einsum("rnc,rnc->rn", codes, codes)
        fitted = np.einsum("rnc,rnc->rn", groups, codes) / np.maximum(power, 1)
        scales = representable(fitted, storage)
    return scales
