"""The weights of a vision tower, each matched with the tensor of the checkpoint that fills it.

Three kinds need more than to be read. The position table is one of ``[2, N, H]`` in the checkpoint. Bounds of
clips may be infinite, which means that there is none. The embedding of the token that ends a picture
is a row of the token table, scaled as the text model scales it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import Checkpoint, require
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract import Section, TensorSpec
from exporter.errors import CheckpointError
from exporter.weights.matching import Weight, WeightSpecs
from exporter.weights.vision_parameters import BOUNDS, END_EMBEDDING, POSITION_TABLE
from quantize.arrays import StoredRows, store_rows
from quantize.storage import Storage

TOWER, ADAPTER = "vision_tower.", "embed_vision."
PREFIXES = ("model.", "", "model.language_model.", "language_model.model.")
"""What may come before the tower: of today's class, of the tower beside a bare text model, of older ones."""

FIRST_TENSOR = f"{TOWER}patch_embedder.input_proj.weight"

RECIPE_PREFIX = "vision."

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ClipBound:
    """A bound of a clip, as it is stored; an infinite one becomes the largest number.

    A :class:`~quantize.arrays.ReadyRows`.
    """

    tensor: StoredTensor
    reader: TensorReader
    storage: Storage = Storage.FLOAT32

    def blocks(self) -> Iterator[StoredRows]:
        value = self.reader.numbers(self.tensor, 0, 1)
        if np.isnan(value).any():
            raise CheckpointError(
                f"{self.tensor.file}: {self.tensor.name} is NaN; a bound of a clip must be a number or "
                "infinite: save the checkpoint again"
            )
        yield store_rows(value.clip(-LARGEST, LARGEST).reshape(1, 1), self.storage)


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
    specs: WeightSpecs, checkpoint: Checkpoint, embedding: Weight, end_token: int
) -> dict[Section, Mapping[str, Weight]]:
    """Match every weight of the graphs for pictures with a tensor of the right shape.

    Args:
        specs: What the graphs take.
        checkpoint: The target's.
        embedding: The token table, with what an adapter does to it.
        end_token: The token that ends a picture.

    Raises:
        CheckpointError: Listing every tensor that is missing or mis-shaped.
    """
    prefix = tower_prefix(checkpoint)
    tensors = {s: w for s, w in specs.items() if s is not Section.END_OF_VISION}
    names = {
        (section, parameter): prefix + stored_name(section, parameter)
        for section, weights in tensors.items()
        for parameter in weights
    }
    require(checkpoint, {n: stored_shape(p, specs[s][p]) for (s, p), n in names.items()})
    found: dict[Section, Mapping[str, Weight]] = {
        section: {
            parameter: _weight(
                parameter, spec, checkpoint, names[section, parameter], embedding.reader
            )
            for parameter, spec in weights.items()
        }
        for section, weights in tensors.items()
    }
    spec = specs[Section.END_OF_VISION][END_EMBEDDING]
    found[Section.END_OF_VISION] = {END_EMBEDDING: _end(spec, embedding, end_token)}
    return found


def tower_prefix(checkpoint: Checkpoint) -> str:
    """What comes before the tower's names; today's, if there is no tower."""
    known = (p for p in PREFIXES if checkpoint.shape_of(p + FIRST_TENSOR) is not None)
    return next(known, PREFIXES[0])


def stored_name(section: Section, parameter: str) -> str:
    """A parameter's name in the checkpoint, but for the prefix."""
    if section is Section.VISION_ADAPTER:
        return ADAPTER + parameter
    return TOWER + ("encoder." if parameter.startswith("layers.") else "") + parameter


def stored_shape(parameter: str, spec: TensorSpec) -> tuple[int, ...]:
    """A parameter's shape in the checkpoint."""
    if parameter == POSITION_TABLE:
        return (2, spec.shape[0] // 2, spec.shape[1])
    if parameter.endswith(BOUNDS):
        return ()
    return spec.shape[-1:] if len(spec.shape) > 2 else spec.shape


def _weight(
    parameter: str, spec: TensorSpec, checkpoint: Checkpoint, name: str, reader: TensorReader
) -> Weight:
    packed = checkpoint.packed.get(name)
    tensor = checkpoint.tensors[name] if packed is None else packed.codes
    bound = ClipBound(tensor, reader) if parameter.endswith(BOUNDS) else None
    return Weight(RECIPE_PREFIX + parameter, spec, tensor, reader, packed, ready=bound)


def _end(spec: TensorSpec, table: Weight, token: int) -> Weight:
    tensor, stored_row = table.tensor, table.tensor.nbytes // table.rows
    row = replace(tensor, shape=(1, *tensor.shape[1:]), offset=tensor.offset + token * stored_row)
    name = RECIPE_PREFIX + "end_of_vision.embedding"
    return Weight(name, spec, row, table.reader, ready=TableRow(table, token))
