"""LiteRT's kernels read codes and scales as we pack them: every code value, every position in a byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantize.arrays import QuantisedRows, dequantize_rows
from quantize.scales import representable
from quantize.storage import Storage
from tests.litert.one_operator import OneOperator

ROWS, COLUMNS = 24, 256
TOKENS = (1, 3, 4)
"""Of one call: kernels for one row and for several are not the same."""

EXACT = 1e-6
"""Of the largest value. One-hot inputs survive rounding to 8 bits, so a product is one code times its
scale, in another order of multiplications."""

STORED = [storage for storage in Storage if storage.quantised]


def weight_of(storage: Storage) -> QuantisedRows:
    """Random codes of the whole range, random scales."""
    source = np.random.default_rng(storage.bits)
    low, high = storage.lowest_code, storage.largest_code
    codes = source.integers(low, high + 1, (ROWS, COLUMNS)).astype(np.int8)
    assert {low, high} <= set(codes.reshape(-1).tolist())
    spread = source.uniform(0.001, 0.1, (ROWS, storage.scales_per_row(COLUMNS)))
    return QuantisedRows(codes, representable(spread.astype(np.float32), storage))


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("storage", STORED)
def test_products(storage: Storage, tokens: int, tmp_path: Path) -> None:
    """A one-hot input picks a column."""
    weight = weight_of(storage)
    values, product = dequantize_rows(weight), OneOperator(weight, storage, tokens, lookup=False)
    columns = range(tokens) if tokens > 1 else (0, 1, 2, 3, 31, 32, COLUMNS - 1)
    for first in columns:
        picked = (first + np.arange(tokens) * 5) % COLUMNS
        output = product.run(np.eye(COLUMNS, dtype=np.float32)[picked][None], tmp_path)
        assert np.abs(output[0] - values[:, picked].T).max() <= EXACT * np.abs(values).max()


@pytest.mark.parametrize("storage", STORED)
def test_lookups(storage: Storage, tmp_path: Path) -> None:
    weight = weight_of(storage)
    table, ids = OneOperator(weight, storage, 3, lookup=True), np.array([0, 7, ROWS - 1], np.int32)
    output = table.run(ids, tmp_path)
    values = dequantize_rows(weight)
    assert np.abs(output - values[ids]).max() <= EXACT * np.abs(values).max()
