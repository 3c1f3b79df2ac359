"""What ONNX Runtime's kernels can read of what recipes store.

``MatMulNBits`` and ``GatherBlockQuantized`` hold a matrix ``[N, K]`` as unsigned codes, the earlier one
in the low bits of a byte, with a float32 scale for every block of a row; the zero point of a symmetric
code is the middle of its range. So the bytes are those of ``quantize`` with the sign bit of each code
turned over, and a scale that serves a whole row is written once for each of its blocks: the values
are exactly those of a LiteRT bundle.

Source: ONNX Runtime's ``docs/ContribOperators.md``; block lengths as its CPU kernels take them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.errors import RecipeError
from exporter.weights.matching import Weight
from quantize.storage import Storage

SIGNS = {8: 0x80, 4: 0x88, 2: 0xAA}
"""By bits of a code: the sign bits of the codes in one byte."""

BLOCKS = {8: (256, 128, 64, 32, 16), 4: (256, 128, 64, 32, 16), 2: (128, 64, 32, 16)}
"""By bits of a code: elements that a scale may stand for, the fewest scales first. Blocks of 256 have
no kernel for 2 bits on CPU; ONNX Runtime then takes a thousand times as long."""


@dataclass(frozen=True)
class Encoding:
    """How a quantised weight is written: bits of a code, elements of a block."""

    bits: int
    block: int

    def unsigned(self, data: bytes) -> bytes:
        """Signed codes, moved up by half their range."""
        codes: NDArray[np.uint8] = np.frombuffer(data, np.uint8) ^ np.uint8(SIGNS[self.bits])
        return codes.tobytes()


def encoding_of(weight: Weight, storage: Storage) -> Encoding | None:
    """How a weight's rows are encoded; None if they are float32.

    Raises:
        RecipeError: ONNX Runtime has no kernel for this storage, or none for such rows.
    """
    if not storage.quantised:
        return None
    if storage.bits not in SIGNS or storage.block not in (None, *BLOCKS[storage.bits]):
        offered = [kind.value for kind in Storage if not kind.quantised or kind.bits in SIGNS]
        raise RecipeError(
            f"{weight.name} would be stored as {storage.value}, and --format onnx offers "
            f"{', '.join(offered)}; choose a recipe of these, or --format litertlm"
        )
    blocks = BLOCKS[storage.bits] if storage.block is None else (storage.block,)
    if (block := next((b for b in blocks if weight.row_length % b == 0), None)) is None:
        raise RecipeError(
            f"{weight.name} has rows of {weight.row_length} elements, and ONNX Runtime takes quantised "
            f"ones of a multiple of {blocks[-1]}; store it as float32"
        )
    return Encoding(storage.bits, block)
