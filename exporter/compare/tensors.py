"""Per tensor: how it is stored, in how many bytes, and how much of its signal is left."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from exporter.bundle.reader import Bundle
from exporter.compare.figures import TensorFigures
from exporter.contract.names import Section
from exporter.verify.sides.stored_weights import StoredConstant, stored_constants
from exporter.weights.matching import Weight, Weights

ROW_SCALE_BYTES, BLOCK_SCALE_BYTES = 4, 2
"""A row's scale is float32, inside the flatbuffer; those of blocks are float16, behind it."""


def tensor_figures(bundle: Bundle, weights: Weights | None) -> tuple[TensorFigures, ...]:
    """Every matrix and table of a bundle.

    Args:
        bundle: Where they are stored.
        weights: What they were made from; without, nothing is known of the loss.

    Raises:
        UnreadableWeightError: A weight is stored in a layout that cannot be read back.
    """
    stored, manifest = stored_constants(bundle), bundle.manifest()
    storages = _storages(manifest["weights"]) if manifest else {}
    known = {weight.name: weight for found in (weights or {}).values() for weight in found.values()}
    return tuple(
        _figures(constant, storages.get(name, constant.dtype), known.get(name))
        for name, constant in _matrices(stored)
    )


def _matrices(
    stored: Mapping[Section, Mapping[str, StoredConstant]],
) -> Iterator[tuple[str, StoredConstant]]:
    for constants in stored.values():
        for name, constant in constants.items():
            if len(constant.shape) == 2 and constant.dtype != "int32":
                yield name, constant


def _storages(block: Mapping[str, Mapping[str, list[object]]]) -> dict[str, str]:
    """The recipe's word for how each tensor is stored, from the manifest."""
    return {name: str(entry[0]) for section in block.values() for name, entry in section.items()}


def _figures(constant: StoredConstant, storage: str, weight: Weight | None) -> TensorFigures:
    per_block = constant.scales.shape[1] > 1
    scales = constant.scales.size * (BLOCK_SCALE_BYTES if per_block else ROW_SCALE_BYTES)
    nbytes = constant.data.nbytes + scales
    lossy = constant.quantised and weight is not None
    snr = signal_to_noise(weight, constant) if lossy and weight is not None else None
    return TensorFigures(constant.name, storage, math.prod(constant.shape), nbytes, snr)


def signal_to_noise(weight: Weight, constant: StoredConstant) -> float:
    """In dB: the power of a weight by the power of what storing it changed."""
    signal, noise, row = 0.0, 0.0, 0
    for block in weight.blocks():
        kept = constant.floats(row, len(block))
        signal += float(np.square(block, dtype=np.float64).sum())
        noise += float(np.square(block - kept, dtype=np.float64).sum())
        row += len(block)
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
