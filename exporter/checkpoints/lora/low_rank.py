"""Adding a low-rank change to rows of a weight: ``W + scaling * up @ down``, a block of rows at a time.

With a magnitude (DoRA) the sum's rows are then scaled to the lengths that were trained. Everything is
float32, and no more of the factors is read than the rows need: an embedding's ``up`` has a column for
every token.

Source: Hu et al., "LoRA" (arXiv 2106.09685), equation 3; Liu et al., "DoRA" (arXiv 2402.09353),
equation 5; the layouts are those of PEFT's ``tuners/lora/layer.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.errors import CheckpointError
from quantize.bfloat16 import Floats


@dataclass(frozen=True)
class LowRank:
    """A change of rank r to a weight ``[R, C]``.

    For a linear layer ``up`` is ``[R, r]`` and ``down`` is ``[r, C]`` (PEFT's ``lora_B``, ``lora_A``). For
    an embedding both are stored the other way round: ``up`` is ``lora_embedding_A`` ``[r, R]`` and
    ``down`` is ``lora_embedding_B`` ``[C, r]``.
    """

    up: StoredTensor
    down: StoredTensor
    scaling: float
    of_embedding: bool = False
    magnitude: StoredTensor | None = None  # [R]

    @property
    def rank(self) -> int:
        return self.up.shape[0 if self.of_embedding else 1]

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weight that it changes."""
        if self.of_embedding:
            return self.up.shape[1], self.down.shape[0]
        return self.up.shape[0], self.down.shape[1]

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Why a weight of this shape cannot be changed; None if it can."""
        if self.shape == shape:
            return None
        return f"{self.up.name} is for shape {list(self.shape)}, expected {list(shape)}"

    def changed(self, rows: Floats, start: int, reader: TensorReader) -> Floats:
        """``rows`` ``[N, C]``, which begin at row ``start`` of the weight, with the change.

        Raises:
            CheckpointError: A factor cannot be read, a row that DoRA must scale is all zero, or the sum is
                larger than numbers can be.
        """
        up, down = self._up_rows(start, len(rows), reader), self._down(reader)
        with np.errstate(over="ignore", invalid="ignore"):
            changed = rows + np.float32(self.scaling) * (up @ down)
            if self.magnitude is not None:
                changed = self._scaled(self.magnitude, changed, start, reader)
        if not np.isfinite(changed).all():
            raise CheckpointError(
                f"{self.up.file}: with {self.up.name} merged, the weight is not finite: expected factors and "
                f"a lora_alpha of ordinary size, found a scaling of {self.scaling:.3g} and an element of "
                f"{np.abs(up).max():.3g}; its training diverged, or lora_alpha is another than in training"
            )
        return changed

    def _up_rows(self, start: int, count: int, reader: TensorReader) -> Floats:
        """Rows of ``up`` ``[count, r]``."""
        if not self.of_embedding:
            return reader.floats(self.up, start * self.rank, count * self.rank).reshape(count, -1)
        width = self.up.shape[1]
        columns = [reader.floats(self.up, r * width + start, count) for r in range(self.rank)]
        return np.stack(columns, axis=1)

    def _down(self, reader: TensorReader) -> Floats:
        """``[r, C]``."""
        whole = reader.floats(self.down, 0, self.down.shape[0] * self.down.shape[1])
        matrix = whole.reshape(self.down.shape)
        return matrix.T if self.of_embedding else matrix

    @staticmethod
    def _scaled(magnitude: StoredTensor, rows: Floats, start: int, reader: TensorReader) -> Floats:
        lengths = np.linalg.norm(rows, axis=1)
        if not lengths.all():
            raise CheckpointError(
                f"{magnitude.file}: {magnitude.name} gives a length to row "
                f"{start + int(np.argmin(lengths))}, which is all zero in the merged weight; such an "
                "adapter cannot be merged"
            )
        wanted = reader.floats(magnitude, start, len(rows))
        scaled: Floats = rows * (wanted / lengths)[:, None]
        return scaled
