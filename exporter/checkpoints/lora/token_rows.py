"""Rows of an embedding, each of one token, that training replaced: PEFT's ``trainable_token_indices``.

Source: PEFT 0.21 ``tuners/trainable_tokens/layer.py``: the stored "delta" is not added, it is the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from quantize.bfloat16 import Floats


@dataclass(frozen=True)
class TokenRows:
    """Trained ``rows`` ``[n, C]``, which replace the rows of ``tokens`` in a table ``[V, C]``."""

    rows: StoredTensor
    tokens: tuple[int, ...]

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Why a table of this shape cannot take them; None if it can."""
        if self.rows.shape[1:] != shape[1:]:
            return f"{self.rows.name} has rows of {list(self.rows.shape[1:])}, expected {list(shape[1:])}"
        if beyond := [token for token in self.tokens if token >= shape[0]]:
            return (
                f"{self.rows.name} is of tokens {beyond}, beyond the {shape[0]} rows of the model"
            )
        return None

    def changed(self, rows: Floats, start: int, reader: TensorReader) -> Floats:
        """``rows`` ``[N, C]``, which begin at row ``start`` of the table, with the trained ones."""
        places = [(i, t - start) for i, t in enumerate(self.tokens) if 0 <= t - start < len(rows)]
        if not places:
            return rows
        result, width = rows.copy(), self.rows.shape[1]
        for own, place in places:
            result[place] = reader.floats(self.rows, own * width, width)
        return result
