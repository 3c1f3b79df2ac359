"""Scales of int8 caches: how large keys and values get on a text.

The target reads the text with its weights as they will be stored, up to the last layer that owns KV. A
scale is :data:`HEADROOM` times the largest magnitude of its channel over 127; what another text brings
beyond that is clamped.

Keys are rotated by their position before they are stored, two channels at a time, and the text has only
its own positions. So what counts of a key is the length of such a pair, which no rotation changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.calibrate.choice import CodeChoices
from exporter.calibrate.target_pass import TargetPass
from exporter.calibrate.text import CalibrationText
from exporter.checkpoints.architecture import Layer, TargetConfig
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.checkpoints.tensors.tensor_names import recipe_name
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.model.text.kv_int8 import LARGEST_CODE
from exporter.weights.matching import Weight, Weights
from exporter.weights.parameters import CacheScales
from quantize.scales import representable
from quantize.storage import Storage

HEADROOM = 1.25
"""Of a scale over what the text needs. Costs 2 dB where the text was typical."""

LEAST_SHARE = 2.0**-6
"""Of a layer's widest channel: no other one is taken for narrower, however little the text moves it."""

Floats = NDArray[np.float32]


@dataclass
class CacheRanges:
    """The largest magnitude of every channel, ``[D]``, by part and layer that owns a cache."""

    largest: dict[tuple[int, str], Tensor] = field(default_factory=dict)

    def see(self, layer: Layer, keys: Tensor, values: Tensor) -> None:
        """Take keys, rotated, and values ``[1, T, K, D]`` of a layer into account."""
        first, second = keys.chunk(2, dim=-1)
        pairs = torch.hypot(first, second)
        self._widen(layer.index, "keys", torch.cat([pairs, pairs], -1))
        self._widen(layer.index, "values", values.abs())

    def _widen(self, layer: int, part: str, magnitudes: Tensor) -> None:
        here = magnitudes.reshape(-1, magnitudes.shape[-1]).amax(0)
        before = self.largest.get((layer, part), here)
        self.largest[layer, part] = torch.maximum(before, here)

    def scales(self, layer: int, part: str) -> Floats:
        """Scales ``[D]``; 1 where the text had nothing but zeros."""
        largest = self.largest[layer, part]
        least = largest.max() * LEAST_SHARE
        scales = torch.maximum(largest, least) * HEADROOM / LARGEST_CODE
        return representable(scales.numpy(), Storage.INT8)


def measure_ranges(
    weights: Weights, target: TargetConfig, text: CalibrationText, choices: CodeChoices
) -> CacheRanges:
    """The ranges of all caches on a text.

    Memory: one layer's float weights and the hidden states of the text.

    Args:
        weights: Of the target's sections; what a GPTQ rule is for has its codes already.
        target: What is run.
        text: What it reads.
        choices: How the others will be stored.
    """
    ranges = CacheRanges()
    with torch.inference_mode():
        TargetPass(target, weights, choices, ranges.see).fill_caches(text.sequences)
    return ranges


def work(weights: Weights, config: TargetConfig) -> int:
    """Bytes that ``progress`` of :func:`measure_ranges` adds up to."""
    unread = [
        layer.index for layer in config.text.layers if layer.index > config.kv_owners[-1].index
    ]
    skipped = ("norm.", "lm_head.", *(f"layers.{index}." for index in unread))
    found = weights[Section.PREFILL_DECODE].items()
    return sum(weight.tensor.nbytes for name, weight in found if not name.startswith(skipped))


def scale_weights(
    ranges: CacheRanges, wanted: Iterable[CacheScales], folder: Path, reader: TensorReader
) -> Weights:
    """The scales of all sections, as weights to be bound.

    Args:
        ranges: Of the target's caches.
        wanted: What the sections take.
        folder: Where their bytes are kept until then.
        reader: Reads them.
    """
    found: dict[Section, dict[str, Weight]] = {}
    for scales in wanted:
        name = recipe_name(scales.section, scales.parameter)
        stored = _stored(name, ranges.scales(scales.layer, scales.part), folder)
        weight = Weight(name, scales.spec, stored, reader)
        found.setdefault(scales.section, {})[scales.parameter] = weight
    return found


def _stored(name: str, scales: Floats, folder: Path) -> StoredTensor:
    file = folder / name
    file.write_bytes(scales.astype("<f4").tobytes())
    return StoredTensor(name, "F32", scales.shape, file, 0)
