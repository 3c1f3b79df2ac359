"""Finding the int4 lattice under bfloat16 values that quantisation-aware training left on it.

Such a checkpoint holds ``value = bfloat16(d * code)`` with codes -8..7 and one positive ``d`` for 32
values in a row, but neither codes nor ``d``. Rounding to bfloat16 moved every value by up to one part in
512, so ``d`` is known only within an interval: each value allows those ``d`` whose product with its code
rounds to it, and a block is on the lattice if one ``d`` suits all 32. Any ``d`` of the interval gives the
checkpoint's values back, bit by bit; so one is chosen that can be stored.

Scales of blocks are stored as float16 (11 significant bits), and XNNPACK computes with the 8 of
bfloat16. A ``d`` exact in both is preferred, else one exact in float16; where the interval holds
neither, the nearest float16 is taken and some values of the block differ in their last bit.

Source: the layout is Q4_0 of llama.cpp (``ggml-quants.c``) with the step that was trained instead of
one recomputed from the block's peak.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantize.arrays import Codes
from quantize.bfloat16 import Floats, to_bfloat16

BLOCK = 32
LOWEST_CODE, LARGEST_CODE = -8, 7

BLOCKS_AT_ONCE = 8192
"""A megabyte of float32, so that what is computed with stays in the processor's caches."""

NEARLY_CODE = 0.05
"""How far ``value / d`` may be from its code when ``d`` is the peak by its code: both are rounded by one
part in 512 at most, times a code of 8 at most, so by less than 0.04."""

HALF_STEP = np.uint32(0x8000)
"""Between neighbouring bfloat16 values, in units of the last bit of a float32."""

OPEN_END = np.uint32(64)
"""In the same units: a product of a float16 and a code has at most 15 significant bits, so two of them,
or one and a half-way point, differ by 256 or not at all."""

DIVISORS = np.array(
    [
        math.gcd(*(code for code in range(1, 9) if codes >> (code - 1) & 1)) or 1
        for codes in range(1 << 8)
    ],
    np.int8,
)
"""Greatest common divisor of a set of codes 1 to 8, bit ``code - 1`` being set for each."""

SMALLEST_HALF = np.float16(2.0**-24)

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class LatticeRows:
    """Codes and scales that were found in rows ``[R, C]``, in blocks ``[R, n]``."""

    codes: Codes  # [R, C]; 0 where a block is not on the lattice
    scales: Floats  # [R, n]; 1 where a block is all zero or not on the lattice
    found: Flags  # [R, n]: the block is on the lattice
    exact: Flags  # [R, n]: bfloat16(code * scale) is the value, for all of the block


def find_lattice(rows: Floats) -> LatticeRows:
    """Codes and scales of ``rows`` ``[R, C]``, where their values lie on a lattice.

    Raises:
        ValueError: C is not a multiple of the block.
    """
    count, length = rows.shape
    if length % BLOCK:
        raise ValueError(f"a lattice needs rows of a multiple of {BLOCK}, found {length}")
    values = np.ascontiguousarray(rows, np.float32).reshape(-1, BLOCK)
    parts = [
        _find(values[start : start + BLOCKS_AT_ONCE])
        for start in range(0, len(values), BLOCKS_AT_ONCE)
    ]
    codes, scales, found, exact = (np.concatenate(column) for column in zip(*parts, strict=True))
    shape = (count, length // BLOCK)
    return LatticeRows(
        codes.reshape(count, length),
        scales.reshape(shape),
        found.reshape(shape),
        exact.reshape(shape),
    )


def _find(values: Floats) -> tuple[Codes, Floats, Flags, Flags]:
    """Codes and scales of blocks ``[N, 32]``, which of them lie on a lattice, and which do so exactly."""
    codes, found = _codes(values)
    scales, exact = np.ones(len(values), np.float32), found.copy()
    marked = np.flatnonzero(found & codes.any(axis=1))
    lowest, highest = _interval(values[marked], codes[marked])
    multiples, scales[marked], exact[marked] = _storable(lowest, highest, codes[marked])
    codes[marked] *= multiples[:, None]
    found[marked] = fits = (lowest <= highest) & np.isfinite(scales[marked])
    codes[marked[~fits]], scales[marked[~fits]] = 0, 1
    return codes, scales, found, exact


def _codes(values: Floats) -> tuple[Codes, Flags]:
    """Smallest codes of blocks ``[N, 32]``: the first code of the peak with which all values are multiples.

    A block that fits with several codes of its peak fits with multiples of the smallest, so the largest
    are tried first, which are the most frequent, and then divided by what they have in common.
    """
    codes = np.zeros(values.shape, np.int8)
    found = np.asarray(~values.any(axis=1))
    sixteen_bits = ((values.view(np.uint32) & 0xFFFF) == 0).all(axis=1)
    peaks = values[np.arange(len(values)), np.abs(values).argmax(axis=1)]
    for largest in range(-LOWEST_CODE, 0, -1):
        possible = (peaks < 0) | (largest <= LARGEST_CODE)
        pending = np.flatnonzero(~found & sixteen_bits & possible)
        blocks = values[pending]
        steps = blocks * (np.float32(largest) / np.abs(peaks[pending]))[:, None]
        nearest = np.rint(steps)
        near = (np.abs(steps - nearest) < NEARLY_CODE).all(axis=1)
        near &= ((nearest != 0) == (blocks != 0)).all(axis=1) & (
            nearest.max(axis=1) <= LARGEST_CODE
        )
        codes[pending[near]] = nearest[near]
        found[pending[near]] = True
    codes //= _common_divisor(codes)[:, None]
    return codes, found


def _common_divisor(codes: Codes) -> Codes:
    """The greatest common divisor of each block ``[N]``; 1 for a block of zeros."""
    present = np.bitwise_or.reduce(np.uint16(1) << np.abs(codes).astype(np.uint16), axis=1)
    divisors: Codes = DIVISORS[present >> 1]
    return divisors


def _interval(values: Floats, codes: Codes) -> tuple[Floats, Floats]:
    """Smallest and largest ``d`` ``[N]`` that give blocks ``[N, 32]``; none if the first is larger.

    A bfloat16 is the upper half of a float32, so half a step up or down is bit 15. What lies half-way
    rounds to the even neighbour; an odd one is left out by :data:`OPEN_END`, much less than products of
    a storable ``d`` and a code can differ by.
    """
    bits = np.abs(values).view(np.uint32)
    open_end = ((bits >> 16) & 1) * OPEN_END
    size = np.abs(codes).astype(np.float32)
    lowest = (np.maximum(bits, HALF_STEP) - HALF_STEP + open_end).view(np.float32)
    highest = (bits + HALF_STEP - open_end).view(np.float32)
    with np.errstate(divide="ignore"):
        ends = (lowest / np.maximum(size, 1)).max(axis=1), (highest / size).min(axis=1)
    result: tuple[Floats, Floats] = ends
    return result


def _storable(lowest: Floats, highest: Floats, codes: Codes) -> tuple[Codes, Floats, Flags]:
    """A scale for each interval, whether it lies within, and what to multiply codes by for it.

    Where codes are small, twice the codes with half the step are the same values, and so on.
    """
    largest, least = codes.max(axis=1).astype(int), codes.min(axis=1).astype(int)
    multiples = np.ones(len(codes), np.int8)
    scales, within, preferred = _nearest_scale(lowest, highest)
    for multiple in range(2, -LOWEST_CODE + 1):
        room = (largest * multiple <= LARGEST_CODE) & (least * multiple >= LOWEST_CODE)
        pending = np.flatnonzero(~preferred & room)
        part = np.float32(1 / multiple)
        other, fits, better = _nearest_scale(lowest[pending] * part, highest[pending] * part)
        taken = better | (fits & ~within[pending])
        changed = pending[taken]
        multiples[changed], scales[changed] = multiple, other[taken]
        within[changed], preferred[changed] = fits[taken], better[taken]
    return multiples, scales, within


def _nearest_scale(lowest: Floats, highest: Floats) -> tuple[Floats, Flags, Flags]:
    """The bfloat16 nearest to each interval's middle if it is a float16 and within, else the float16.

    Beyond float16's range it is infinite. Also whether it lies within, and whether it is exact in both types.
    """
    middle = (lowest + highest) * np.float32(0.5)
    short = to_bfloat16(middle)
    with np.errstate(over="ignore"):
        half = np.maximum(middle.astype(np.float16), SMALLEST_HALF).astype(np.float32)
        in_both = short.astype(np.float16).astype(np.float32) == short
    preferred = in_both & (short >= lowest) & (short <= highest)
    scales = np.where(preferred, short, half).astype(np.float32)
    return scales, np.asarray((scales >= lowest) & (scales <= highest)), np.asarray(preferred)
