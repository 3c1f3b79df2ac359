"""The weights of a vision tower, each matched with the tensor of the checkpoint that fills it.

Some need more than to be read. The position table is one of ``[2, N, H]`` in the checkpoint. Bounds of
clips may be infinite, which means that there is none. The embedding of the token that ends a picture
is a row of the token table, scaled as the text model scales it. A GPU's graphs multiply by the position
table, of which LiteRT's CPU kernel misreads codes with a scale per row, so it stays float32 there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import Checkpoint, require
from exporter.checkpoints.lora.adapted import change_of, module_of
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.tensors.vision_names import PREFIXES, SECTIONS, tower_prefix, vision_name
from exporter.contract.names import Accelerator, Section, TensorSpec
from exporter.errors import CheckpointError
from exporter.weights.matching import Weight, WeightSpecs, matched, require_fit
from exporter.weights.vision_parameters import BOUNDS, END_EMBEDDING, POSITION_TABLE
from quantize.arrays import StoredRows, store_rows
from quantize.storage import Storage

RECIPE_PREFIX = "vision."

LARGEST = {
    Accelerator.CPU: float(np.finfo(np.float32).max),
    Accelerator.GPU: float(np.finfo(np.float16).max),
}
"""What an infinite bound becomes: GPUs may compute in float16."""


@dataclass(frozen=True)
class ClipBound:
    """A bound of a clip, as it is stored; an infinite one becomes the largest number.

    A :class:`~quantize.arrays.ReadyRows`.
    """

    tensor: StoredTensor
    reader: TensorReader
    largest: float
    storage: Storage = Storage.FLOAT32

    def blocks(self) -> Iterator[StoredRows]:
        value = self.reader.numbers(self.tensor, 0, 1)
        if np.isnan(value).any():
            raise CheckpointError(
                f"{self.tensor.file}: {self.tensor.name} is NaN; a bound of a clip must be a number or "
                "infinite: save the checkpoint again"
            )
        yield store_rows(value.clip(-self.largest, self.largest).reshape(1, 1), self.storage)


@dataclass(frozen=True)
class FloatRows:
    """A matrix that no recipe stores in fewer bits. A :class:`~quantize.arrays.ReadyRows`."""

    weight: Weight
    storage: Storage = Storage.FLOAT32

    def blocks(self) -> Iterator[StoredRows]:
        return (store_rows(rows, self.storage) for rows in self.weight.blocks())


@dataclass(frozen=True)
class TableRow:
    """A row of the token table, times the root of its length.

    A :class:`~quantize.arrays.ReadyRows`.
    """

    table: Weight
    row: int
    storage: Storage = Storage.FLOAT32

    def blocks(self) -> Iterator[StoredRows]:
        yield store_rows(self.values(), self.storage)

    def values(self) -> NDArray[np.float32]:
        """``[1, H]``."""
        scale = np.float32(math.sqrt(self.table.row_length))
        values: NDArray[np.float32] = self.table.floats(self.row, 1) * scale
        return values


def find_vision_weights(
    specs: WeightSpecs,
    checkpoint: Checkpoint,
    embedding: Weight,
    end_token: int,
    accelerator: Accelerator = Accelerator.CPU,
) -> dict[Section, Mapping[str, Weight]]:
    """Match every weight of the graphs for pictures with a tensor of the right shape.

    Args:
        specs: What the graphs take.
        checkpoint: The target's.
        embedding: The token table, with what an adapter does to it.
        end_token: The token that ends a picture.
        accelerator: What the graphs are written for.

    Raises:
        CheckpointError: Listing every tensor that is missing or mis-shaped, and what of an adapter does
            not fit.
    """
    prefix = tower_prefix((*checkpoint.tensors, *checkpoint.packed)) or PREFIXES[0]
    keys = [(section, parameter) for section in SECTIONS for parameter in specs[section]]
    names = {key: prefix + vision_name(*key) for key in keys}
    changes = {key: change_of(checkpoint.adapter, module_of(*key), tied=False) for key in keys}
    shapes = {(s, parameter): stored_shape(parameter, specs[s][parameter]) for s, parameter in keys}
    require(checkpoint, {names[key]: shape for key, shape in shapes.items()})
    require_fit(checkpoint, changes, shapes)

    largest = LARGEST[accelerator]

    def weight(section: Section, parameter: str) -> Weight:
        key, spec = (section, parameter), specs[section][parameter]
        name, reader = RECIPE_PREFIX + parameter, embedding.reader
        found = matched(name, spec, checkpoint, names[key], changes[key], reader)
        if parameter.endswith(BOUNDS):
            return replace(found, ready=ClipBound(found.tensor, reader, largest))
        if parameter == POSITION_TABLE and accelerator is Accelerator.GPU:
            return replace(found, ready=FloatRows(found))
        return found

    found: dict[Section, Mapping[str, Weight]] = {
        section: {parameter: weight(section, parameter) for parameter in specs[section]}
        for section in SECTIONS
    }
    spec = specs[Section.END_OF_VISION][END_EMBEDDING]
    found[Section.END_OF_VISION] = {END_EMBEDDING: _end(spec, embedding, end_token)}
    return found


def has_tower(checkpoint: Checkpoint) -> bool:
    """Whether there is a tensor of a tower."""
    return tower_prefix((*checkpoint.tensors, *checkpoint.packed)) is not None


def stored_shape(parameter: str, spec: TensorSpec) -> tuple[int, ...]:
    """A parameter's shape in the checkpoint."""
    if parameter == POSITION_TABLE:
        return (2, spec.shape[0] // 2, spec.shape[1])
    if parameter.endswith(BOUNDS):
        return ()
    return spec.shape[-1:] if len(spec.shape) > 2 else spec.shape


def _end(spec: TensorSpec, table: Weight, token: int) -> Weight:
    tensor, stored_row = table.tensor, table.tensor.nbytes // table.rows
    row = replace(tensor, shape=(1, *tensor.shape[1:]), offset=tensor.offset + token * stored_row)
    name = RECIPE_PREFIX + "end_of_vision.embedding"
    return Weight(name, spec, row, table.reader, ready=TableRow(table, token))
