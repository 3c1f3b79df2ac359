"""Whether a checkpoint's head is its embedding table.

The configuration says so; but where a fine-tune saved both and they differ, transformers keeps both.
Source: transformers 5.22 ``PreTrainedModel.tie_weights``.
"""

from __future__ import annotations

import math

import numpy as np

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_names import EMBEDDING, TensorNames
from exporter.checkpoints.tensors.tensor_reader import TensorReader

BLOCK_ELEMENTS = 4 * 1024 * 1024
"""Elements compared at a time."""


def is_head_tied(checkpoint: Checkpoint, names: TensorNames, reader: TensorReader) -> bool:
    """Whether head and embedding are one parameter; both are read as far as they are equal."""
    head = checkpoint.tensors.get(names.head)
    table = checkpoint.tensors.get(names.prefix + EMBEDDING)
    if not checkpoint.ties_head or head is None or table is None:
        return checkpoint.ties_head
    return head.shape == table.shape and _equal(head, table, reader)


def _equal(one: StoredTensor, other: StoredTensor, reader: TensorReader) -> bool:
    count = math.prod(one.shape)
    blocks = ((at, min(BLOCK_ELEMENTS, count - at)) for at in range(0, count, BLOCK_ELEMENTS))
    return all(
        np.array_equal(reader.floats(one, *block), reader.floats(other, *block)) for block in blocks
    )
