"""The weights of a tower, each matched with the tensor of the checkpoint that fills it.

Bounds of clips may be infinite, which means that there is none. The embedding of the token that ends a
picture or a sound is a row of the token table, scaled as the text model scales it. What else needs more than
to be read is for each kind of tower to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import Checkpoint, require
from exporter.checkpoints.lora.adapted import WRAPPED, change_of, module_of
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.tensors.tower_names import PREFIXES, TowerNames
from exporter.contract.names import Accelerator, Section, TensorSpec
from exporter.errors import CheckpointError
from exporter.weights.matching import Weight, WeightSpecs, matched, require_fit
from exporter.weights.tower_parameters import BOUNDS, END_EMBEDDING
from quantize.arrays import StoredRows, store_rows
from quantize.storage import Storage

LARGEST_BOUND = {
    Accelerator.CPU: float(np.finfo(np.float32).max),
    Accelerator.GPU: float(np.finfo(np.float16).max),
}
"""What an infinite bound becomes: GPUs may compute in float16."""


class Layout(Protocol):
    """How a kind of tower lies in checkpoints, and in graphs."""

    @property
    def names(self) -> TowerNames:
        """How checkpoints name its tensors."""

    @property
    def recipe_prefix(self) -> str:
        """The beginning of the names that recipes match."""

    @property
    def largest_bound(self) -> float:
        """What an infinite bound of a clip becomes."""

    def stored_shape(self, parameter: str, spec: TensorSpec) -> tuple[int, ...] | None:
        """A parameter's shape in the checkpoint, where it is not that of a matrix or vector."""

    def laid_out(self, parameter: str, weight: Weight) -> Weight:
        """The weight as the graph takes it."""


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


def find_tower_weights(
    layout: Layout,
    specs: WeightSpecs,
    checkpoint: Checkpoint,
    embedding: Weight,
    end_token: int,
) -> dict[Section, Mapping[str, Weight]]:
    """Match every weight of a tower's graphs with a tensor of the right shape.

    Args:
        layout: Of this kind of tower.
        specs: What the graphs take; the section for the end comes last.
        checkpoint: The target's.
        embedding: The token table, with what an adapter does to it.
        end_token: The token that ends what the tower encodes.

    Raises:
        CheckpointError: Listing every tensor that is missing or mis-shaped, and what of an adapter does
            not fit.
    """
    prefix = layout.names.prefix((*checkpoint.tensors, *checkpoint.packed)) or PREFIXES[0]
    sections = layout.names.sections
    keys = [(section, parameter) for section in sections for parameter in specs[section]]
    names = {key: prefix + layout.names.of(*key) for key in keys}
    changes = {key: change_of(checkpoint.adapter, module_of(*key), tied=False) for key in keys}
    shapes = {
        (s, parameter): stored_shape(layout, parameter, specs[s][parameter])
        for s, parameter in keys
    }
    _refuse_unwrapped(checkpoint, names.values(), layout.names.kind)
    require(checkpoint, {names[key]: shape for key, shape in shapes.items()})
    require_fit(checkpoint, changes, shapes)

    def weight(section: Section, parameter: str) -> Weight:
        key, spec = (section, parameter), specs[section][parameter]
        name, reader = layout.recipe_prefix + parameter, embedding.reader
        found = matched(name, spec, checkpoint, names[key], changes[key], reader)
        if parameter.endswith(BOUNDS):
            return replace(found, ready=ClipBound(found.tensor, reader, layout.largest_bound))
        return layout.laid_out(parameter, found)

    found: dict[Section, Mapping[str, Weight]] = {
        section: {parameter: weight(section, parameter) for parameter in specs[section]}
        for section in sections
    }
    end = next(section for section in specs if section not in sections)
    name = f"{layout.recipe_prefix}{end.value.removeprefix('tf_lite_')}.embedding"
    found[end] = {END_EMBEDDING: _end(name, specs[end][END_EMBEDDING], embedding, end_token)}
    return found


def _refuse_unwrapped(checkpoint: Checkpoint, names: Iterable[str], kind: str) -> None:
    """Refuse a tower that was saved without the wrappers of its layers, which is how many get around PEFT.

    Raises:
        CheckpointError: Layers have no ``.linear`` in their names. Transformers would not read them either.
    """
    for name in names:
        unwrapped = name.replace(f"{WRAPPED}.weight", ".weight")
        if unwrapped != name and unwrapped in checkpoint.tensors:
            raise CheckpointError(
                f"{checkpoint.folder}: expected {name}, found {unwrapped}: the {kind} tower was saved while "
                "Gemma4ClippableLinear was replaced, and transformers does not read it either; put the base "
                f"model's tower in its place, export the base model with --lora, or give --no-{kind}"
            )


def has_tower(checkpoint: Checkpoint, names: TowerNames) -> bool:
    """Whether there is a tensor of a tower."""
    return names.prefix((*checkpoint.tensors, *checkpoint.packed)) is not None


def stored_shape(layout: Layout, parameter: str, spec: TensorSpec) -> tuple[int, ...]:
    """A parameter's shape in the checkpoint."""
    if parameter.endswith(BOUNDS):
        return ()
    if (stored := layout.stored_shape(parameter, spec)) is not None:
        return stored
    return spec.shape[-1:] if len(spec.shape) > 2 else spec.shape


def _end(name: str, spec: TensorSpec, table: Weight, token: int) -> Weight:
    tensor, stored_row = table.tensor, table.tensor.nbytes // table.rows
    row = replace(tensor, shape=(1, *tensor.shape[1:]), offset=tensor.offset + token * stored_row)
    return Weight(name, spec, row, table.reader, ready=TableRow(table, token))
