"""Cosines and sines of positions, looked up instead of computed.

A GPU's own sine is good to about 1e-4 of a turn's radius, and with float16 activations the angle of
position 2000 is off by a whole radian before any sine is taken. So a position is split into two
digits, which are integers on every device, the digits' rotations are read from tables, and their
product is the position's: 1000 = 15 * 64 + 40 turns by 15 * 64, then by 40.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.checkpoints.architecture import Rope
from exporter.model.text.layers import Rotation

BASE = 64
"""Base of the digits: two tables of 64 rows reach 4096 positions."""


def looked_up(positions: Tensor, rope: Rope, head_dim: int, limit: int) -> Rotation:
    """The rotation at ``positions`` int32 ``[T]``, each from 0 to ``limit``."""
    high = torch.div(positions, BASE, rounding_mode="floor")
    low = positions - high * BASE
    coarse = _digit(high, _table(BASE * np.arange(limit // BASE + 1), rope, head_dim))
    fine = _digit(low, _table(np.arange(BASE), rope, head_dim))
    return Rotation(
        coarse.cos * fine.cos - coarse.sin * fine.sin,
        coarse.sin * fine.cos + coarse.cos * fine.sin,
    )


def rope_frequencies(rope: Rope, head_dim: int) -> NDArray[np.float32]:
    """Radians per position ``[D/2]``, as :meth:`Rotation.at` has them."""
    turning = int(rope.rotary_fraction * head_dim // 2)
    exponent = np.arange(0, 2 * turning, 2, dtype=np.float32) / np.float32(head_dim)
    still = np.zeros(head_dim // 2 - turning, np.float32)
    return np.concatenate([1 / np.float32(rope.theta) ** exponent, still])


def _table(positions: NDArray[np.int64], rope: Rope, head_dim: int) -> Tensor:
    """Cosines, then sines, of each position; ``[rows, D]``. NumPy, so that it is not traced."""
    angles = positions.reshape(-1, 1) * rope_frequencies(rope, head_dim).astype(np.float64)
    return torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)], 1, dtype=np.float32))


def _digit(digit: Tensor, table: Tensor) -> Rotation:
    """Row ``digit`` of a table, as a rotation.

    The row is a matrix product with a tent that is 1 at the digit and 0 at all others: the delegate has no
    gather of this kind, and the converter makes a lookup of anything that looks one-hot, which ends
    the process where signatures share a float table.
    """
    numbers = torch.arange(table.shape[0], dtype=torch.int32).reshape(1, 1, -1)
    distance = (digit.reshape(1, -1, 1) - numbers).abs().float()
    chosen = torch.relu(1.0 - distance)  # [1, T, rows]
    rows = nn.functional.linear(chosen, table.T.contiguous())
    cos, sin = rows.reshape(1, -1, 1, table.shape[-1]).chunk(2, dim=-1)
    return Rotation(cos, sin)
