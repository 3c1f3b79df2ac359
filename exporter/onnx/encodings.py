"""What ONNX Runtime's kernels can read of what recipes store.

``MatMulNBits`` and ``GatherBlockQuantized`` hold a matrix ``[N, K]`` as unsigned codes, the earlier one
in the low half of a byte, with a float32 scale for every block of a row; the zero point of a symmetric
code is the middle of its range. So the bytes are those of ``quantize`` with the sign bit of each code
turned over, and the scale of a row is written once for each of its blocks: the values are exactly
those of a LiteRT bundle.

Source: ONNX Runtime's ``docs/ContribOperators.md``; block sizes as its CPU kernels accept them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.errors import RecipeError
from exporter.weights import Weight
from quantize.storage import Storage

BLOCK_LENGTHS = (256, 128, 64, 32, 16)
"""Elements a scale may stand for, the fewest scales first."""


@dataclass(frozen=True)
class Encoding:
    """Codes of some bits; ``signs`` has the sign bits of the codes in one byte."""

    bits: int
    signs: int

    def unsigned(self, data: bytes) -> bytes:
        """Signed codes, moved up by half their range."""
        codes: NDArray[np.uint8] = np.frombuffer(data, np.uint8) ^ np.uint8(self.signs)
        return codes.tobytes()


ENCODINGS = {8: Encoding(8, 0x80), 4: Encoding(4, 0x88)}
"""By bits of an element. float32 needs none."""


def encoding_of(weight: Weight, storage: Storage) -> Encoding | None:
    """How a weight's rows are encoded; None if as float32.

    Raises:
        RecipeError: ONNX Runtime has no kernel for this storage.
    """
    if storage is Storage.FLOAT32:
        return None
    if storage.bits not in ENCODINGS:
        offered = ", ".join(
            kind.value for kind in Storage if not kind.quantised or kind.bits in ENCODINGS
        )
        raise RecipeError(
            f"{weight.name} would be stored as {storage.value}, and --format onnx offers {offered}; "
            "choose a recipe of these, or --format litertlm"
        )
    return ENCODINGS[storage.bits]


def block_length(weight: Weight, storage: Storage) -> int:
    """Elements that each scale of a quantised weight stands for in the file.

    Raises:
        RecipeError: No block that ONNX Runtime takes divides the rows.
    """
    if storage.block is not None:
        return storage.block
    for length in BLOCK_LENGTHS:
        if weight.row_length % length == 0:
            return length
    raise RecipeError(
        f"{weight.name} has rows of {weight.row_length} elements, and ONNX Runtime quantises multiples "
        f"of {BLOCK_LENGTHS[-1]} only; store it as float32"
    )
