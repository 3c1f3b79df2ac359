"""Weights as external data of ONNX models: one file per checkpoint, written once, front to back.

Several models refer to the same bytes, and so do two weights that are one tensor of the checkpoint in
the same storage (the token table and the head of a tied model).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.contract.names import Section
from exporter.onnx.encodings import Encoding, encoding_of
from exporter.progress import Advance
from exporter.weights.matching import Weight, Weights
from exporter.weights.storing import StoredWeight, choose_rule, stored_blocks
from quantize.recipe import Recipe, Rule

ALIGNMENT = 64
"""Of every piece of data within its file."""

FLOAT_BYTES = 4

TARGET_FILE = "target.data"
DRAFTER_FILE = "drafter.data"


@dataclass(frozen=True)
class ExternalData:
    """Where some bytes lie."""

    file: str
    offset: int
    nbytes: int


@dataclass(frozen=True)
class PlacedWeight:
    """A weight that has been written: what an ONNX initializer has to say about it.

    ``encoding`` and ``scales`` are there for quantised ones.
    """

    weight: Weight
    data: ExternalData
    encoding: Encoding | None = None
    scales: ExternalData | None = None


class WeightFileWriter:
    """One file of external data while it is being written to ``stream``."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self._name, self._stream, self._position = name, stream, 0
        self._written: dict[tuple[StoredTensor, object], PlacedWeight] = {}

    def place(self, weight: Weight, recipe: Recipe, progress: Advance) -> PlacedWeight:
        """Append a weight as the recipe says, unless its bytes are in the file already."""
        rule = choose_rule(weight, recipe)
        how = rule and (rule.storage, rule.algorithm, weight.change, id(weight.ready))
        key = (weight.tensor, how)
        if key in self._written:
            progress(weight.tensor.nbytes)
            return replace(self._written[key], weight=weight)
        self._written[key] = self._append(weight, rule, progress)
        return self._written[key]

    def _append(self, weight: Weight, rule: Rule | None, progress: Advance) -> PlacedWeight:
        begin = self._align()
        if rule is None:
            self._write(weight.ordering().tobytes())
            progress(weight.tensor.nbytes)
            return PlacedWeight(weight, self._region(begin))
        encoding, scales = encoding_of(weight, rule.storage), list[NDArray[np.float32]]()
        for stored in stored_blocks(weight, rule):
            self._write(encoding.unsigned(stored.data) if encoding is not None else stored.data)
            scales.append(stored.scales)
            progress(weight.tensor.nbytes * stored.rows // weight.rows)
        data = self._region(begin)
        if encoding is None:
            return PlacedWeight(weight, data)
        begin = self._align()
        for part in scales:  # [R, n]
            times = weight.row_length // encoding.block // part.shape[1]
            self._write(np.repeat(part, times, axis=1).astype("<f4").tobytes())
        return PlacedWeight(weight, data, encoding, self._region(begin))

    def _region(self, begin: int) -> ExternalData:
        return ExternalData(self._name, begin, self._position - begin)

    def _align(self) -> int:
        self._write(b"\0" * (-self._position % ALIGNMENT))
        return self._position

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._position += len(data)


def write_weights(
    folder: Path, weights: Weights, recipe: Recipe, progress: Advance
) -> dict[Section, dict[str, PlacedWeight]]:
    """Write every weight of every section to ``folder``, one block of rows at a time.

    Raises:
        RecipeError: A storage does not fit a weight, or ONNX Runtime.
        CheckpointError: A weight has NaN or infinite values, or cannot be read.
    """
    placed: dict[Section, dict[str, PlacedWeight]] = {}
    for name in dict.fromkeys(map(file_of, weights)):
        with (folder / name).open("wb") as stream:
            file = WeightFileWriter(name, stream)
            for section in weights:
                if file_of(section) == name:
                    placed[section] = {
                        parameter: file.place(weight, recipe, progress)
                        for parameter, weight in weights[section].items()
                    }
    return placed


def file_of(section: Section) -> str:
    """The file that holds a section's weights: one for each checkpoint."""
    return DRAFTER_FILE if section is Section.MTP_DRAFTER else TARGET_FILE


def stored_size(weights: Weights, recipe: Recipe) -> int:
    """Upper bound of the bytes :func:`write_weights` will write.

    Raises:
        RecipeError: A storage does not fit a weight, or ONNX Runtime.
    """
    return sum(_size(weight, recipe) for section in weights.values() for weight in section.values())


def _size(weight: Weight, recipe: Recipe) -> int:
    elements, rule = weight.rows * weight.row_length, choose_rule(weight, recipe)
    encoding = encoding_of(weight, rule.storage) if rule is not None else None
    if encoding is None:
        return elements * FLOAT_BYTES + ALIGNMENT
    scales = elements // encoding.block * FLOAT_BYTES
    return elements * encoding.bits // 8 + scales + 2 * ALIGNMENT


def described(placed: PlacedWeight) -> StoredWeight:
    """For the manifest. Weights that share bytes are each listed with all of them."""
    weight, nbytes = placed.weight, placed.data.nbytes
    if placed.scales is not None:
        nbytes += placed.scales.nbytes
    if placed.encoding is not None:
        return StoredWeight(weight.name, f"int{placed.encoding.bits}", nbytes)
    return StoredWeight(weight.name, weight.spec.dtype.value, nbytes)
