"""Storage of rows: how far codes may be from values, and packing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from quantize.arrays import (
    QuantisedRows,
    dequantize_rows,
    pack,
    packed_rows,
    quantize_rows,
    store_rows,
    unpack,
    unstored_rows,
)
from quantize.clipping import clipped_scales, squared_error
from quantize.recipe import Algorithm
from quantize.scales import LARGEST_BLOCK_SCALE, peak_scales, representable
from quantize.storage import Storage

Rows = NDArray[np.float32]

QUANTISED = [storage for storage in Storage if storage.quantised]
BLOCKS = [storage for storage in QUANTISED if storage.block]
PER_ROW = [storage for storage in QUANTISED if not storage.block]
UNCALIBRATED = [Algorithm.MINMAX, Algorithm.CLIP]

HALF_STEP = 0.5 * (1 + 1e-4)
"""Rounding to the nearest code errs by half a scale; the rest is float32 rounding of x / scale, at
most 127 codes times a few parts in 1e7."""

SHORT_HALF_STEP = 0.5 + 7 * 2.0**-8
"""The same in blocks: a scale of 8 bits may be 2^-8 too small, and the largest value is 7 steps."""

LARGEST = 2.0**99
"""Beyond any weight, and far enough below float32's limit that differences stay finite."""

LARGEST_IN_BLOCKS = 7 * LARGEST_BLOCK_SCALE

VANISHED = 2e-36
"""Largest error of a row whose scale would not be a normal float32: such a row is stored as 0."""

NORMAL_HALF = 2.0**-14
"""Smallest float16 that has all its bits. Smaller scales are multiples of 2^-24."""


def rows_for(storage: Storage, limit: float | None = None) -> st.SearchStrategy[Rows]:
    """Rows that fit a storage, up to 3 groups long."""
    limit = limit or (LARGEST_IN_BLOCKS if storage.block else LARGEST)
    lengths = st.integers(1, 3).map(lambda n: n * (storage.block or 4))
    shapes = st.tuples(st.integers(1, 5), lengths)
    return npst.arrays(np.float32, shapes, elements=st.floats(-limit, limit, width=32))


def steps(storage: Storage, rows: Rows, quantised: QuantisedRows) -> Rows:
    """Error in units of each group's scale, ``[R, C]``."""
    wide = np.repeat(quantised.scales, rows.shape[1] // quantised.scales.shape[1], axis=1)
    off: Rows = np.abs(dequantize_rows(quantised) - rows) / wide
    return off


@pytest.mark.parametrize("storage", PER_ROW)
@given(data=st.data())
def test_values_come_back_within_half_a_step(storage: Storage, data: st.DataObject) -> None:
    rows = data.draw(rows_for(storage))
    quantised = quantize_rows(rows.copy(), storage)
    error = np.abs(dequantize_rows(quantised).astype(np.float64) - rows)
    assert (error <= np.maximum(HALF_STEP * quantised.scales, VANISHED)).all()


@pytest.mark.parametrize("storage", BLOCKS)
@given(data=st.data())
def test_values_come_back_within_half_a_step_in_blocks(
    storage: Storage, data: st.DataObject
) -> None:
    rows = data.draw(rows_for(storage))
    quantised = quantize_rows(rows.copy(), storage)
    fine = np.repeat(quantised.scales >= NORMAL_HALF, storage.block or 1, axis=1)
    assert (steps(storage, rows, quantised)[fine] <= SHORT_HALF_STEP).all()
    coarse = np.abs(dequantize_rows(quantised) - rows)[~fine]
    assert (coarse <= 7 * NORMAL_HALF).all()


@pytest.mark.parametrize("storage", PER_ROW)
@given(data=st.data())
def test_scales_are_as_fine_as_the_row_allows(storage: Storage, data: st.DataObject) -> None:
    """The largest value gets the largest code, so no step is wider than it must be."""
    rows = data.draw(rows_for(storage))
    quantised = quantize_rows(rows.copy(), storage)
    peak, largest = np.abs(rows).max(axis=1), storage.largest_code
    assert np.isfinite(quantised.scales).all()
    assert (quantised.scales >= np.finfo(np.float32).tiny).all()
    codes = np.abs(quantised.codes.astype(int))
    assert (codes <= largest).all()
    assert (codes.max(axis=1)[peak > VANISHED] == largest).all()


@pytest.mark.parametrize("storage", BLOCKS)
@given(
    scales=npst.arrays(
        np.float32, (1, 4), elements=st.floats(0, LARGEST_BLOCK_SCALE, width=32)
    )
)  # fmt: skip
def test_block_scales_are_exact_in_both_16_bit_formats(storage: Storage, scales: Rows) -> None:
    """Stored as float16, computed with as bfloat16: the kernel must see what codes were chosen with."""
    kept = representable(scales, storage)
    assert np.array_equal(kept.astype(np.float16).astype(np.float32), kept)
    assert not (kept.view(np.uint32) & 0xFFFF).any()
    assert (kept > 0).all()
    assert np.array_equal(representable(kept, storage), kept)
    normal = scales >= NORMAL_HALF
    assert (np.abs(kept - scales)[normal] <= scales[normal] * 2.0**-8).all()


@pytest.mark.parametrize("storage", QUANTISED)
@given(data=st.data())
def test_clipping_is_never_worse(storage: Storage, data: st.DataObject) -> None:
    """By squared error, group by group; the property that the algorithm is named for."""
    rows = data.draw(rows_for(storage, limit=1e4))
    groups = rows.reshape(len(rows), storage.scales_per_row(rows.shape[1]), -1)
    clipped = squared_error(groups, clipped_scales(groups, storage), storage)
    plain = squared_error(groups, peak_scales(groups, storage), storage)
    assert (clipped <= plain).all()


@pytest.mark.parametrize(
    ("storage", "gain"),
    [(Storage.INT8, 1.0), (Storage.INT4, 1.4), (Storage.INT4_BLOCK32, 1.15), (Storage.INT2, 4.0)],
)
def test_clipping_helps_where_bits_are_few(storage: Storage, gain: float) -> None:
    """Of normal weights with as many columns as E2B's, by mean squared error: measured, rounded down."""
    rows = np.random.default_rng(0).normal(size=(64, 1536)).astype(np.float32)
    errors = [
        np.square(dequantize_rows(quantize_rows(rows, storage, algorithm)) - rows).mean()
        for algorithm in UNCALIBRATED
    ]
    assert errors[0] >= gain * errors[1]


@pytest.mark.parametrize("algorithm", UNCALIBRATED)
@pytest.mark.parametrize("storage", QUANTISED)
@given(data=st.data(), cut=st.integers(1, 4))
def test_blocks_of_rows_are_independent(
    storage: Storage, algorithm: Algorithm, data: st.DataObject, cut: int
) -> None:
    """Streaming a matrix block by block gives the bytes of quantising it whole."""
    rows = data.draw(rows_for(storage, limit=1e4))
    whole = store_rows(rows.copy(), storage, algorithm)
    parts = [
        store_rows(part.copy(), storage, algorithm)
        for part in (rows[:cut], rows[cut:])
        if len(part)
    ]
    assert b"".join(part.data for part in parts) == whole.data
    assert np.array_equal(np.concatenate([part.scales for part in parts]), whole.scales)
    assert len(whole.data) * 8 == rows.size * storage.bits
    assert whole.rows == len(rows)


@pytest.mark.parametrize("storage", QUANTISED)
@given(data=st.data())
def test_stored_rows_come_back(storage: Storage, data: st.DataObject) -> None:
    rows = data.draw(rows_for(storage, limit=1e4))
    quantised = quantize_rows(rows, storage)
    back = unstored_rows(packed_rows(quantised, storage), storage, rows.shape[1])
    assert np.array_equal(back.codes, quantised.codes)
    assert np.array_equal(back.scales, quantised.scales)


@pytest.mark.parametrize("bits", [8, 4, 2])
@given(data=st.data())
def test_pack_and_unpack_are_inverse(bits: int, data: st.DataObject) -> None:
    low = -(1 << (bits - 1))
    shapes = st.tuples(st.integers(1, 9), st.integers(1, 9).map(lambda n: n * (8 // bits)))
    codes = data.draw(npst.arrays(np.int8, shapes, elements=st.integers(low, -low - 1)))
    packed = pack(codes, bits)
    assert len(packed) * 8 == codes.size * bits
    rows, columns = codes.shape
    assert np.array_equal(unpack(packed, bits, (rows, columns)), codes)


def test_earlier_codes_are_in_the_lower_bits() -> None:
    """The inverse test alone would not notice halves swapped; that kernels agree is tested there."""
    assert pack(np.array([[1, -2, 7, 0]], np.int8), 4) == bytes([0xE1, 0x07])
    assert pack(np.array([[1, -2, 0, -1]], np.int8), 2) == bytes([0b11_00_10_01])


@pytest.mark.parametrize(
    ("storage", "length"),
    [(Storage.INT4, 3), (Storage.INT2, 6), (Storage.INT4_BLOCK32, 48), (Storage.INT4_BLOCK128, 64)],
)
def test_rows_that_do_not_fit(storage: Storage, length: int) -> None:
    assert not storage.fits(length)
    with pytest.raises(ValueError, match=f"multiple of {storage.divisor()}, found {length}"):
        store_rows(np.ones((2, length), np.float32), storage)


@pytest.mark.parametrize(
    ("length", "fit"),
    [
        (1536, Storage.INT4_BLOCK128),
        (96, Storage.INT4_BLOCK32),
        (6, Storage.INT4),
        (5, Storage.INT8),
    ],
)
def test_what_fits_instead(length: int, fit: Storage) -> None:
    assert Storage.INT4_BLOCK128.nearest_fit(length) is fit
    assert fit.fits(length)


@pytest.mark.parametrize(
    ("storage", "scale"),
    [(Storage.INT4, -1.0), (Storage.INT4, 0.0), (Storage.INT4_BLOCK32, 1 + 2**-9)],
)
def test_scales_that_kernels_cannot_read(storage: Storage, scale: float) -> None:
    quantised = QuantisedRows(np.ones((1, 32), np.int8), np.array([[scale]], np.float32))
    with pytest.raises(ValueError, match="scales of"):
        packed_rows(quantised, storage)


def test_gptq_needs_more_than_rows() -> None:
    with pytest.raises(ValueError, match="gptq needs calibration"):
        quantize_rows(np.ones((1, 4), np.float32), Storage.INT4, Algorithm.GPTQ)


def test_float32_is_stored_as_it_is() -> None:
    rows = np.array([[1.5, -0.0], [np.pi, 1e-42]], np.float32)
    stored = store_rows(rows, Storage.FLOAT32)
    assert stored.data == rows.tobytes()
    assert stored.scales.size == 0
    assert stored.rows == 2


@pytest.mark.parametrize("algorithm", UNCALIBRATED)
@pytest.mark.parametrize("storage", QUANTISED)
def test_a_row_of_zeros(storage: Storage, algorithm: Algorithm) -> None:
    """Unused rows of a table: codes 0, and a scale that divides."""
    quantised = quantize_rows(np.zeros((2, 128), np.float32), storage, algorithm)
    assert not quantised.codes.any()
    assert (quantised.scales == 1).all()
