"""How a vision tower lies in checkpoints, and what becomes of some of its weights.

The position table is one of ``[2, N, H]`` in the checkpoint. A GPU's graphs multiply by it, and LiteRT's CPU
kernel misreads codes with a scale per row of such a matrix, so it stays float32 there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from exporter.checkpoints.tensors.tower_names import VISION, TowerNames
from exporter.contract.names import Accelerator, TensorSpec
from exporter.weights.matching import Weight
from exporter.weights.towers import LARGEST_BOUND
from exporter.weights.vision_parameters import POSITION_TABLE
from quantize.arrays import StoredRows, store_rows
from quantize.storage import Storage


@dataclass(frozen=True)
class VisionLayout:
    """A :class:`~exporter.weights.towers.Layout`."""

    accelerator: Accelerator = Accelerator.CPU
    names: TowerNames = VISION
    recipe_prefix: str = "vision."

    @property
    def largest_bound(self) -> float:
        return LARGEST_BOUND[self.accelerator]

    def stored_shape(self, parameter: str, spec: TensorSpec) -> tuple[int, ...] | None:
        if parameter == POSITION_TABLE:
            return (2, spec.shape[0] // 2, spec.shape[1])
        return None

    def laid_out(self, parameter: str, weight: Weight) -> Weight:
        """The weight as it is; in the file two tables of N rows lie like one of 2N."""
        if parameter == POSITION_TABLE and self.accelerator is Accelerator.GPU:
            return replace(weight, ready=FloatRows(weight))
        return weight


@dataclass(frozen=True)
class FloatRows:
    """A matrix that no recipe stores in fewer bits. A :class:`~quantize.arrays.ReadyRows`."""

    weight: Weight
    storage: Storage = Storage.FLOAT32

    def blocks(self) -> Iterator[StoredRows]:
        return (store_rows(rows, self.storage) for rows in self.weight.blocks())
