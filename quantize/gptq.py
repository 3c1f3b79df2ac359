"""Codes that keep a matrix's products with calibration inputs.

Columns are rounded one after the other; the error of each is made up for by the columns that are left,
as far as inputs are correlated. With ``H = X^T X`` over the inputs ``X`` and ``H^-1 = U^T U``, ``U`` upper
triangular, rounding column i by ``e`` moves each later column j by ``-e * U[i, j] / U[i, i]``. Columns
with the largest inputs come first, while there are many left to make up for them. Scales are chosen
beforehand, by squared error, so blocks stay where they are whatever the order.

Source: Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained
transformers" (2022). ai-edge-quantizer has the same in outline, but updates with the rows of ``H^-1``
itself, never removing the columns that are done, and takes scales from the peak only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantize.arrays import QuantisedRows
from quantize.bfloat16 import Floats
from quantize.clipping import clipped_scales
from quantize.storage import Storage

Doubles = NDArray[np.float64]

DAMPING = 0.01
"""Share of the mean of H's diagonal that is added to all of it: inputs that the text lacks may occur."""

PANEL = 128
"""Columns whose errors are gathered before all later columns are updated at once."""

SMALL = 256
"""Side below which a triangle is inverted directly."""


@dataclass(frozen=True)
class InputStatistics:
    """What GPTQ needs of a matrix's inputs: the order of columns and, in this order, U ``[C, C]``."""

    order: NDArray[np.intp]
    factor: Floats

    @staticmethod
    def of(hessian: Floats) -> InputStatistics:
        """Made of ``X^T X`` ``[C, C]``. At its peak this takes three times ``hessian`` in float64."""
        order = np.argsort(-np.diagonal(hessian), kind="stable")
        backwards = order[::-1]
        damped = hessian[np.ix_(backwards, backwards)].astype(np.float64)
        diagonal = np.einsum("ii->i", damped)
        mean = float(diagonal.mean())
        diagonal += DAMPING * mean if mean > 0 else 1.0
        lower: Doubles = np.linalg.cholesky(damped).astype(np.float64, copy=False)
        del damped, diagonal
        upper = inverse_of_lower(lower)[::-1, ::-1]
        return InputStatistics(order, upper.astype(np.float32))


def inverse_of_lower(lower: Doubles) -> Doubles:
    """Inverse of a lower triangular matrix, by halves; numpy has no routine of its own for it."""
    size = len(lower)
    if size <= SMALL:
        return np.tril(np.linalg.inv(lower))
    half, inverse = size // 2, np.zeros_like(lower)
    inverse[:half, :half] = inverse_of_lower(lower[:half, :half])
    inverse[half:, half:] = inverse_of_lower(lower[half:, half:])
    inverse[half:, :half] = -inverse[half:, half:] @ (lower[half:, :half] @ inverse[:half, :half])
    return inverse


def gptq_rows(rows: Floats, statistics: InputStatistics, storage: Storage) -> QuantisedRows:
    """Codes and scales of ``rows`` ``[R, C]``; blocks of rows can be done one after the other."""
    count, length = rows.shape
    groups = rows.reshape(count, storage.scales_per_row(length), -1)
    scales = clipped_scales(groups, storage)
    order, factor = statistics.order, statistics.factor
    steps = np.repeat(scales, groups.shape[2], axis=1).T[order]  # [C, R], as all below
    columns = np.ascontiguousarray(rows.T[order])
    codes = np.empty((length, count), np.int8)
    for start in range(0, length, PANEL):
        end = min(start + PANEL, length)
        errors = _round_panel(
            columns[start:end], steps[start:end], factor[start:end, start:end], storage,
            codes[start:end],
        )  # fmt: skip
        columns[end:] -= factor[start:end, end:].T @ errors
    unordered = np.empty_like(codes)
    unordered[order] = codes
    return QuantisedRows(np.ascontiguousarray(unordered.T), scales)


def _round_panel(
    columns: Floats, steps: Floats, factor: Floats, storage: Storage, codes: NDArray[np.int8]
) -> Floats:
    """Round the ``columns`` ``[P, R]`` of one panel into ``codes``; returns their errors, ``[P, R]``."""
    errors = np.empty_like(columns)
    for i, column in enumerate(columns):
        code = np.clip(np.rint(column / steps[i]), storage.lowest_code, storage.largest_code)
        codes[i] = code
        errors[i] = (column - code * steps[i]) / factor[i, i]
        columns[i + 1 :] -= factor[i, i + 1 :, None] * errors[i]
    return errors
