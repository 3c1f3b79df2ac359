"""Where the patches of a picture are: the table's row for each place, and by which angles it turns.

On a CPU rows are looked up and angles computed. LiteRT's GPU delegate ends the process at a lookup in a float
table, and in float16 the angle of place 800 is off by a quarter of a radian before any sine is taken. So
for a GPU the rows of both tables are chosen by products with a tent that is 1 at the place and 0 at all
others (as in ``exporter.model.text.rope_tables``).

Axes: P patches, N places, D head dim, H the tower's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.checkpoints.vision_architecture import VisionConfig

Waves = tuple[Tensor, Tensor]
"""Cosines and sines ``[1, P, D/4]`` of the places along one axis."""


@dataclass(frozen=True)
class Places:
    """Places of patches, and what is known of them on a CPU."""

    positions: Tensor  # int32 [1, P, 2], x before y, -1 for padding

    def rows(self, table: Tensor) -> Tensor:
        """Sums ``[1, P, H]`` of the rows for x and y of a table ``[2N, H]``; those of place 0 for padding."""
        x, y = self.positions.clamp(min=0).unbind(dim=-1)
        rows = nn.functional.embedding(x, table)
        return rows + nn.functional.embedding(y + table.shape[0] // 2, table)

    def waves(self, config: VisionConfig) -> tuple[Waves, Waves]:
        """For x and for y; those of padding are of no account."""
        x, y = self.positions.float().chunk(2, dim=-1)
        frequencies = torch.from_numpy(_frequencies(config)).reshape(1, 1, -1)
        return _waves(x * frequencies), _waves(y * frequencies)


@dataclass(frozen=True)
class GpuPlaces(Places):
    """What a GPU can do: products with constant tables, whose rows are whole numbers in float16 too."""

    def rows(self, table: Tensor) -> Tensor:
        count = table.shape[0] // 2
        of_x = _constant(np.repeat([1.0, 0.0], count))  # [1, 1, 2N]
        of_y = _constant(np.repeat([0.0, 1.0], count))
        x, y = self._floats()
        return _tent(x * of_x + y * of_y, np.tile(np.arange(count), 2)) @ table

    def waves(self, config: VisionConfig) -> tuple[Waves, Waves]:
        numbers = np.arange(self.positions.shape[1] // config.pooling)  # of the longest strip
        angles = numbers.reshape(-1, 1).astype(np.float32) * _frequencies(config)
        table = np.concatenate([np.cos(angles), np.sin(angles)], 1)
        weight = torch.from_numpy(np.ascontiguousarray(table.T))

        def chosen(axis: Tensor) -> Waves:
            cos, sin = nn.functional.linear(_tent(axis, numbers), weight).chunk(2, dim=-1)
            return cos, sin

        x, y = self._floats()
        return chosen(x), chosen(y)

    def _floats(self) -> tuple[Tensor, ...]:
        """X and y ``[1, P, 1]``."""
        return self.positions.clamp(min=0).float().chunk(2, dim=-1)


def _frequencies(config: VisionConfig) -> NDArray[np.float32]:
    """Radians per place ``[D/4]``."""
    pairs = config.head_dim // 4
    exponent = np.arange(pairs, dtype=np.float32) / np.float32(pairs)
    return np.asarray(1 / np.float32(config.rope_theta) ** exponent, np.float32)


def _waves(angles: Tensor) -> Waves:
    return angles.cos(), angles.sin()


def _tent(places: Tensor, numbers: NDArray[np.int64]) -> Tensor:
    """1 where ``places`` ``[1, P, n]`` is the number, 0 where it is another; ``[1, P, numbers]``."""
    return torch.relu(1.0 - (places - _constant(numbers)).abs())


def _constant(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).reshape(1, 1, -1)
