"""How an audio tower lies in checkpoints, and what of its weights is made anew while binding.

Kernels of convolutions become rows of a matrix, those of the depthwise ones a vector per tap. What the
reference computes of weights alone at every call is computed once: the scale of queries, and the keys of
distances, ``R_d = relative_k_proj @ sinusoids(d)``.

Source: transformers ``models/gemma4/modeling_gemma4.py`` (``Gemma4AudioAttention``,
``Gemma4AudioRelPositionalEncoding``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from exporter.checkpoints.audio_architecture import AudioConfig
from exporter.checkpoints.tensors.tower_names import AUDIO, TowerNames
from exporter.contract.names import Accelerator, TensorSpec
from exporter.weights.audio_parameters import CONVOLUTION, QUERY_SCALE, RELATIVE_KEYS, TAP, TAPS
from exporter.weights.matching import Weight
from exporter.weights.towers import LARGEST_BOUND
from quantize.arrays import StoredRows, store_rows
from quantize.bfloat16 import Floats
from quantize.storage import Storage

SIDE = math.isqrt(TAPS)

KEY_SCALE = math.log2(1 + math.e)
"""What transformers multiplies keys by, but not the keys of distances."""

LONGEST_WAVE = 10_000.0
"""The ratio of the longest wave to the shortest, of those that distances are told by."""


@dataclass(frozen=True)
class AudioLayout:
    """A :class:`~exporter.weights.towers.Layout`."""

    config: AudioConfig
    accelerator: Accelerator = Accelerator.CPU
    names: TowerNames = AUDIO
    recipe_prefix: str = "audio."

    @property
    def largest_bound(self) -> float:
        return LARGEST_BOUND[self.accelerator]

    def stored_shape(self, parameter: str, spec: TensorSpec) -> tuple[int, ...] | None:
        if parameter.endswith(CONVOLUTION):
            return (spec.shape[0], spec.shape[1] // TAPS, SIDE, SIDE)
        if TAP in parameter:
            return (spec.shape[-1], 1, self.config.kernel)
        if parameter.endswith(RELATIVE_KEYS):
            return (self.config.hidden_size, self.config.hidden_size)
        return None

    def laid_out(self, parameter: str, weight: Weight) -> Weight:
        if parameter.endswith(CONVOLUTION):
            found = weight.tensor, weight.reader, weight.packed, weight.change
            return Kernels(weight.name, weight.spec, *found)
        if TAP in parameter:
            kernels = replace(
                weight, spec=TensorSpec((self.config.hidden_size, self.config.kernel))
            )
            return replace(weight, ready=Tap(kernels, int(parameter.rpartition(".")[2])))
        if parameter.endswith(QUERY_SCALE):
            return replace(weight, ready=QueryScale(weight))
        if parameter.endswith(RELATIVE_KEYS):
            width = self.config.hidden_size
            projection = replace(weight, spec=TensorSpec((width, width)))
            return replace(weight, ready=RelativeKeys(projection, self.config))
        return weight


@dataclass(frozen=True)
class Kernels(Weight):
    """Kernels ``[R, C, 3, 3]`` as rows of a matrix ``[R, 9 * C]``, the channels of each tap side by side."""

    def floats(self, row: int, count: int) -> Floats:
        kernels = super().floats(row, count).reshape(count, -1, TAPS)
        return kernels.transpose(0, 2, 1).reshape(count, -1)


@dataclass(frozen=True)
class Tap:
    """What one tap of a depthwise convolution does to each channel: a column of ``[H, K]``.

    A :class:`~quantize.arrays.ReadyRows`.
    """

    kernels: Weight
    index: int
    storage: Storage = Storage.FLOAT32

    def blocks(self) -> Iterator[StoredRows]:
        column = np.concatenate([rows[:, self.index] for rows in self.kernels.blocks()])
        yield store_rows(column.reshape(1, -1), self.storage)


@dataclass(frozen=True)
class QueryScale:
    """All that scales queries and keys: the root of the head dim, a trained scale per dim, that of keys.

    A :class:`~quantize.arrays.ReadyRows`.
    """

    per_dim: Weight
    storage: Storage = Storage.FLOAT32

    def blocks(self) -> Iterator[StoredRows]:
        trained = np.logaddexp(0.0, self.per_dim.floats(0, 1).astype(np.float64))  # softplus
        fixed = KEY_SCALE / math.log(2) / math.sqrt(self.per_dim.row_length)
        yield store_rows((trained * fixed).astype(np.float32), self.storage)


@dataclass(frozen=True)
class RelativeKeys:
    """Keys of distances ``[N * W, H]``, each head's in the columns of its own dims, zeros in the others'.

    Divided by the scale of keys: it is in :class:`QueryScale`, too. A :class:`~quantize.arrays.ReadyRows`.
    """

    projection: Weight
    config: AudioConfig
    storage: Storage = Storage.FLOAT32

    def blocks(self) -> Iterator[StoredRows]:
        window, dim = self.config.window, self.config.head_dim
        waves = sinusoids(window, self.projection.row_length).T / np.float32(KEY_SCALE)
        keys = np.concatenate([rows @ waves for rows in self.projection.blocks()])  # [H, W]
        for head in range(self.config.heads):
            own = slice(head * dim, (head + 1) * dim)
            rows = np.zeros((window, len(keys)), np.float32)
            rows[:, own] = keys[own].T
            yield store_rows(rows, self.storage)


def sinusoids(distances: int, width: int) -> Floats:
    """Sines and then cosines of waves at 0, 1, ... tokens: ``[distances, width]``."""
    count = width // 2
    step = math.log(LONGEST_WAVE) / max(count - 1, 1)
    angles = np.arange(distances)[:, None] * np.exp(-step * np.arange(count))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
