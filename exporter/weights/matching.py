"""The weights of the graphs, each matched with what fills it.

A weight is handed on as a :class:`Weight`, which yields blocks of rows and never the whole tensor: as
the checkpoint has them, or with an adapter's change.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import Checkpoint, require
from exporter.checkpoints.lora.adapted import Change, change_of, module_of, unused_modules
from exporter.checkpoints.lora.low_rank import LowRank
from exporter.checkpoints.lora.token_rows import TokenRows
from exporter.checkpoints.tensors.packed_tensor import PackedTensor
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_names import find_names, recipe_name, stored_shape
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.tensors.tied_head import is_head_tied
from exporter.contract.names import Dtype, Section, TensorSpec
from exporter.errors import CheckpointError, listed
from quantize.arrays import ReadyRows
from quantize.storage import Storage

BLOCK_ELEMENTS = 2 * 1024 * 1024
"""Elements quantised at a time: 8 MB as float32, small enough for several copies to be cheap."""


@dataclass(frozen=True)
class Weight:
    """One weight of a graph and the tensor that fills it.

    ``name`` is what recipes match: ``target.`` or ``drafter.`` and the parameter's name. ``packed``
    says how the tensor's codes stand for values, ``change`` is what an adapter does to its rows. ``ready``
    are codes that need no quantising any more; they are stored as they are.
    """

    name: str
    spec: TensorSpec
    tensor: StoredTensor
    reader: TensorReader
    packed: PackedTensor | None = None
    change: LowRank | TokenRows | None = None
    ready: ReadyRows | None = None

    @property
    def stored_tensors(self) -> tuple[StoredTensor, ...]:
        """What of the checkpoint it is made of."""
        return (self.tensor,) if self.packed is None else (self.tensor, self.packed.scales)

    @property
    def rows(self) -> int:
        return math.prod(self.spec.shape[:-1])

    @property
    def row_length(self) -> int:
        return self.spec.shape[-1]

    @property
    def is_matrix(self) -> bool:
        """Whether a recipe may quantise it; vectors and integer tables are stored as they are."""
        return self.spec.dtype is Dtype.FLOAT32 and len(self.spec.shape) == 2

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The weight as float32 blocks ``[R, row_length]``, in order."""
        for row, count in self.row_blocks():
            yield self.floats(row, count)

    def row_blocks(self) -> Iterator[tuple[int, int]]:
        """First row and number of rows of each block."""
        step = max(1, BLOCK_ELEMENTS // self.row_length)
        for row in range(0, self.rows, step):
            yield row, min(step, self.rows - row)

    def floats(self, row: int, count: int) -> NDArray[np.float32]:
        """``count`` rows from row ``row`` on, ``[count, row_length]``; floats that are ready as they are."""
        if self.ready is not None and self.ready.storage is Storage.FLOAT32:
            data = b"".join(block.data for block in self.ready.blocks())
            return np.frombuffer(data, np.float32).reshape(self.rows, -1)[row : row + count]
        if self.packed is not None:
            rows = self.packed.floats(row, count, self.reader)
        else:
            flat = self.reader.floats(self.tensor, row * self.row_length, count * self.row_length)
            rows = flat.reshape(count, self.row_length)
        return rows if self.change is None else self.change.changed(rows, row, self.reader)

    def ordering(self) -> NDArray[np.int32]:
        """An integer table (the centroid head's), checked to be a permutation of the vocabulary.

        Raises:
            CheckpointError: It is not: the head was saved before its clusters were made.
        """
        values = self.reader.integers(self.tensor)
        if not np.array_equal(np.sort(values, axis=None), np.arange(values.size)):
            raise CheckpointError(
                f"{self.tensor.file}: {self.tensor.name} must list every token once, and does not; "
                "save the drafter after its centroids are fitted, or export with --drafter-head full"
            )
        return values.astype(np.int32).reshape(self.spec.shape)


WeightSpecs = Mapping[Section, Mapping[str, TensorSpec]]
"""For each section, the weights its graph takes: parameter name to shape."""

WeightInput = tuple[Section, str, TensorSpec]
"""A weight that a signature takes: its section, the parameter's name there, shape and type."""

Weights = Mapping[Section, Mapping[str, Weight]]
"""By section and parameter name."""


def find_weights(
    specs: WeightSpecs, target: Checkpoint, drafter: Checkpoint | None, reader: TensorReader
) -> Weights:
    """Match every weight of the graphs with a tensor of the right shape.

    Raises:
        CheckpointError: Listing, per checkpoint, every tensor that is missing or mis-shaped, and
            what of its adapter does not fit.
    """
    found: dict[Section, Mapping[str, Weight]] = {}
    for checkpoint, drafts in ((target, False), (drafter, True)):
        mine = {s: w for s, w in specs.items() if (s is Section.MTP_DRAFTER) == drafts}
        if checkpoint is not None and mine:
            found |= _find_weights(mine, checkpoint, reader)
    return {section: found[section] for section in specs}


def _find_weights(specs: WeightSpecs, checkpoint: Checkpoint, reader: TensorReader) -> Weights:
    """Match the weights of the sections that one checkpoint fills with its tensors."""
    stored = find_names(checkpoint)
    keys = [(section, parameter) for section, weights in specs.items() for parameter in weights]
    tied = is_head_tied(checkpoint, stored, reader)
    names = {key: stored.of(*key, tied=tied) for key in keys}
    changes = {key: change_of(checkpoint.adapter, module_of(*key), tied=tied) for key in keys}
    shapes = {(s, parameter): stored_shape(parameter, specs[s][parameter]) for s, parameter in keys}
    require(checkpoint, {names[key]: shape for key, shape in shapes.items()})
    require_fit(checkpoint, changes, shapes)
    unused_modules(checkpoint, {module_of(*key) for key in keys})
    found: dict[Section, dict[str, Weight]] = {section: {} for section in specs}
    for section, parameter in keys:
        key, spec = (section, parameter), specs[section][parameter]
        name = recipe_name(section, parameter)
        found[section][parameter] = matched(
            name, spec, checkpoint, names[key], changes[key], reader
        )
    return found


def matched(
    name: str,
    spec: TensorSpec,
    checkpoint: Checkpoint,
    tensor: str,
    change: Change,
    reader: TensorReader,
) -> Weight:
    """A weight with the tensor that fills it, or what an adapter has in its place."""
    packed = None if change.whole is not None else checkpoint.packed.get(tensor)
    stored = change.whole or (packed.codes if packed else checkpoint.tensors[tensor])
    return Weight(name, spec, stored, reader, packed, change.rows)


def require_fit(
    checkpoint: Checkpoint,
    changes: Mapping[tuple[Section, str], Change],
    shapes: Mapping[tuple[Section, str], tuple[int, ...]],
) -> None:
    """Check that what an adapter changes has the shapes of the weights.

    Raises:
        CheckpointError: Listing what has not.
    """
    if checkpoint.adapter is None:
        return
    found = (problem for key, change in changes.items() for problem in change.misfits(shapes[key]))
    problems = list(dict.fromkeys(found))  # a tensor of a tied head is met twice
    where, target = checkpoint.adapter.folder, checkpoint.source
    if any(change.grows(shapes[key]) for key, change in changes.items()):
        raise CheckpointError(
            f"{where}: tokens were added while the adapter was trained, for which {target} has no rows; "
            "add them with resize_token_embeddings, merge with PEFT (merge_and_unload) and export "
            f"what that saves: {listed(problems)}"
        )
    if problems:
        raise CheckpointError(
            f"{where}: the adapter was trained on a model of another shape than {target}: {listed(problems)}"
        )


def unused_tensors(checkpoint: Checkpoint, weights: Weights) -> list[str]:
    """Tensors of a checkpoint, and modules of its adapter, that none of the graphs made of it uses.

    Vision and audio towers, keys and values of layers that use another layer's, and so on.
    """
    keys = [(section, parameter) for section, found in weights.items() for parameter in found]
    used = {tensor for section, p in keys for tensor in weights[section][p].stored_tensors}
    return [
        *(name for name, tensor in checkpoint.tensors.items() if tensor not in used),
        *unused_modules(checkpoint, {module_of(*key) for key in keys}),
    ]
