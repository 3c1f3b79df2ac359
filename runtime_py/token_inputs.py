"""Tokens, of one sequence or of several, as the inputs of a target signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporter import contract as names
from exporter.contract import Contract
from runtime_py.loop.executor import Floats


class Lookups(Protocol):
    """The embeddings of a token; each valid until the next call."""

    def embed(self, token: int) -> Floats:
        """Scaled, ``[H]``."""

    def embed_per_layer(self, token: int) -> Floats:
        """Scaled, ``[L, P]``."""


@dataclass(frozen=True)
class TokenRow:
    """Tokens of one sequence, for the slots from ``position`` on."""

    tokens: Sequence[int]
    position: int


def token_inputs(
    agreed: Contract, lookups: Lookups, rows: Sequence[TokenRow], shape: tuple[int, int]
) -> dict[str, NDArray[Any]]:
    """The inputs of a signature of ``shape`` [B, T], caches apart.

    There may be fewer rows than B and fewer tokens than T: what is not there has zeros, position 0 and
    a mask row of false.
    """
    per_layer_shape = (*shape, agreed.layer_count, agreed.per_layer_width)
    embeddings = np.zeros((*shape, agreed.hidden_size), dtype=np.float32)
    per_layer = np.zeros(per_layer_shape, dtype=np.float32)
    positions = np.zeros(shape, dtype=np.int32)
    mask = np.zeros((*shape, agreed.cache_length), dtype=np.bool_)
    slots = np.arange(agreed.cache_length, dtype=np.int32)
    for index, row in enumerate(rows):
        used = len(row.tokens)
        for column, token in enumerate(row.tokens):
            embeddings[index, column] = lookups.embed(token)
            per_layer[index, column] = lookups.embed_per_layer(token)
        positions[index, :used] = np.arange(row.position, row.position + used)
        np.less_equal(slots, positions[index, :used, None], out=mask[index, :used])
    return {
        names.EMBEDDINGS: embeddings,
        names.PER_LAYER_EMBEDDINGS: per_layer,
        names.INPUT_POS: positions,
        names.MASK: mask,
    }
