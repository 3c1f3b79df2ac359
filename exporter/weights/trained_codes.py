"""Weights whose codes the checkpoint's training has chosen, stored as they are.

Either the checkpoint holds the codes themselves (``packed_tensor.py``), or its bfloat16 values lie on an
int4 lattice (``quantize.lattice``). Both are noticed here, and such weights get ``ready``
rows, which the recipe does not touch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.tensors.packed_tensor import PackedTensor
from exporter.checkpoints.tensors.stored_tensor import StoredTensor
from exporter.contract.names import Section
from exporter.errors import CheckpointError
from exporter.progress import Advance, Reporter
from exporter.weights.matching import Weight, Weights
from quantize.arrays import StoredRows, pack, unpack
from quantize.lattice import BLOCK, find_lattice
from quantize.storage import Storage

PROBED_ROWS = 16
"""Looked at before a whole tensor is: values that were not trained so fail within the first."""

ROW_STORAGES = {8: Storage.INT8, 4: Storage.INT4, 2: Storage.INT2}
BLOCK_STORAGES = (Storage.INT4_BLOCK128, Storage.INT4_BLOCK64, Storage.INT4_BLOCK32)

SMALLEST_HALF = np.float32(2.0**-24)
"""Smallest positive float16; kernels refuse a scale of zero."""
LARGEST_HALF = np.float32(65504)

ACTIVATIONS_NOTE = (
    "activations and KV stay float: this checkpoint's static scales for them are not applied"
)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PackedCodes:
    """Codes and scales of a packed matrix; with one scale per row, unchanged.

    Of several scales a row, the kernels read blocks of 32, 64 or 128 codes of 4 bits with float16 scales.
    So a group becomes several blocks with the same scale, codes of 2 bits become ones of 4, and scales
    are rounded to float16, in ``rounded`` groups to another value.
    """

    weight: Weight
    packed: PackedTensor
    storage: Storage
    rounded: int = 0

    def blocks(self) -> Iterator[StoredRows]:
        for row, count in self.weight.row_blocks():
            codes = self.packed.signed(row, count, self.weight.reader)
            scales = positive_scales(self.packed, row, count, self.weight)
            if self.storage.block:
                if self.packed.bits == 2:
                    codes = pack(unpack(codes, 2, (count, self.weight.row_length)), 4)
                per_group = (
                    self.storage.scales_per_row(self.weight.row_length) // self.packed.groups
                )
                scales = np.repeat(to_half(scales), per_group, axis=1)
            yield StoredRows(codes, scales)


@dataclass(frozen=True)
class LatticeCodes:
    """Codes of a matrix whose values lie on the lattice.

    In ``rounded`` blocks no float16 scale gives all values back bit by bit; the codes are exact there,
    too.
    """

    weight: Weight
    rounded: int
    storage: Storage = Storage.INT4_BLOCK32

    def blocks(self) -> Iterator[StoredRows]:
        for rows in self.weight.blocks():
            found = find_lattice(rows)
            yield StoredRows(pack(found.codes, 4), found.scales)


TrainedCodes = PackedCodes | LatticeCodes


@dataclass(frozen=True)
class Kept:
    """Weights, some of them with trained codes, which are listed by name."""

    weights: Weights
    codes: Mapping[str, TrainedCodes]

    def notes(self) -> list[str]:
        """Sentences for the user: what is stored as it was trained."""
        if not self.codes:
            return []
        every = (weight for section in self.weights.values() for weight in section.values())
        total = sum(weight.is_matrix for weight in every)
        counts = Counter(codes.storage.value for codes in self.codes.values())
        kinds = ", ".join(f"{count} {storage}" for storage, count in sorted(counts.items()))
        note = f"{len(self.codes)} of {total} matrices keep the codes of their training ({kinds})"
        rounded = sum(codes.rounded for codes in self.codes.values())
        if rounded:
            note += f"; {rounded} of their scales are rounded to float16"
        packed = any(not isinstance(codes, LatticeCodes) for codes in self.codes.values())
        return [note, ACTIVATIONS_NOTE] if packed else [note]

    def to_json(self) -> dict[str, list[object]]:
        """For the manifest: where codes come from, how stored, and blocks whose scale was rounded."""
        return {
            name: [
                "lattice" if isinstance(codes, LatticeCodes) else "packed",
                codes.storage.value,
                codes.rounded,
            ]
            for name, codes in self.codes.items()
        }

    def of(self, sections: Iterable[Section]) -> Weights:
        """The weights of some sections."""
        return {section: self.weights[section] for section in sections}


def keep_trained_codes(weights: Weights, towers: Weights, reporter: Reporter) -> Kept:
    """Give every weight that has trained codes its ready rows.

    A weight that an adapter changes has none any more. Towers are not looked at for a lattice: no published
    checkpoint has one there.

    Args:
        weights: Of the text model and its drafter.
        towers: Of what becomes part of the bundle beside them.
        reporter: Told what is going on.

    Raises:
        CheckpointError: Scales are negative, or a weight cannot be read.
    """
    text, others = _matrices(weights), _matrices(towers)
    codes: dict[str, TrainedCodes] = {}
    for weight in (*text, *others):
        if weight.packed is not None and (found := packed_codes(weight, weight.packed)) is not None:
            codes[weight.name] = found
    codes |= _lattice_codes([weight for weight in text if _begins_on_lattice(weight)], reporter)
    kept = {
        section: {
            p: replace(weight, ready=codes.get(weight.name, weight.ready))
            for p, weight in found_there.items()
        }
        for section, found_there in (*weights.items(), *towers.items())
    }
    return Kept(kept, codes)


def _matrices(weights: Weights) -> list[Weight]:
    """Those that nothing has changed."""
    every = (weight for section in weights.values() for weight in section.values())
    return [w for w in every if w.is_matrix and w.change is None and w.ready is None]


def packed_codes(weight: Weight, packed: PackedTensor) -> PackedCodes | None:
    """How a packed matrix is stored without choosing codes anew; None if no storage can hold them."""
    if packed.groups == 1:
        return PackedCodes(weight, packed, ROW_STORAGES[packed.bits])
    group = weight.row_length // packed.groups
    storage = next((s for s in BLOCK_STORAGES if s.block and group % s.block == 0), None)
    if storage is None or packed.bits == 8:
        return None
    rounded = 0
    for row, count in weight.row_blocks():
        scales = positive_scales(packed, row, count, weight)
        rounded += int((to_half(scales) != scales).sum())
    return PackedCodes(weight, packed, storage, rounded)


def positive_scales(packed: PackedTensor, row: int, count: int, weight: Weight) -> Floats:
    """Scales ``[count, n]`` as kernels take them: zero becomes the smallest normal number.

    Raises:
        CheckpointError: One is negative.
    """
    scales = packed.row_scales(row, count, weight.reader)
    if (scales < 0).any():
        raise CheckpointError(
            f"{packed.scales.file}: {packed.scales.name} has negative scales, which kernels refuse; "
            "export with --requantize"
        )
    return np.maximum(scales, np.finfo(np.float32).tiny)


def to_half(scales: Floats) -> Floats:
    """The nearest positive float16 values."""
    half = np.clip(scales, SMALLEST_HALF, LARGEST_HALF).astype(np.float16)
    return half.astype(np.float32)


def _begins_on_lattice(weight: Weight) -> bool:
    if weight.packed is not None or weight.row_length % BLOCK:
        return False
    first = find_lattice(weight.floats(0, min(PROBED_ROWS, weight.rows)))
    return bool(first.found.all())


def _lattice_codes(weights: Sequence[Weight], reporter: Reporter) -> dict[str, TrainedCodes]:
    """Those of ``weights`` that lie on the lattice as a whole; what shares a tensor shares them."""
    if not weights:
        return {}
    scanned: dict[StoredTensor, LatticeCodes | None] = {}
    tensors = {weight.tensor: weight for weight in weights}
    total = sum(tensor.nbytes for tensor in tensors)
    with reporter.stage("Finding the lattice of trained codes", total) as advance:
        for tensor, weight in tensors.items():
            rounded = _rounded_blocks(weight, advance)
            scanned[tensor] = None if rounded is None else LatticeCodes(weight, rounded)
    return {w.name: codes for w in weights if (codes := scanned[w.tensor]) is not None}


def _rounded_blocks(weight: Weight, advance: Advance) -> int | None:
    """Blocks whose scale float16 cannot hold exactly; None if a block is not on the lattice.

    A tensor of zeros is on every lattice, and on none.
    """
    rounded, any_code = 0, False
    for rows in weight.blocks():
        found = find_lattice(rows)
        if not found.found.all():
            return None
        rounded += int((~found.exact).sum())
        any_code |= bool(found.codes.any())
        advance(weight.tensor.nbytes * len(rows) // weight.rows)
    return rounded if any_code else None
