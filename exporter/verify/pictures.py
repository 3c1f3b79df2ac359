"""The pictures that the rungs run on: drawn here, of sizes that nothing resizes.

For each number of soft tokens there is one that fills the signature's patches and one that leaves padding.
Both are taller or wider than they are not, so that x and y are told apart.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.contract.vision import (
    ADAPTER_PREFIX,
    ENCODER_PREFIX,
    IMAGES,
    POSITIONS,
    VisionContract,
)
from exporter.verify.tower_input import TowerInput
from runtime_py.litert.pictures import PicturePatches

Pixels = NDArray[np.uint8]

STEP = np.float32(1 / 255)
"""Of a colour; the engine multiplies by it."""

NOISE = 48
"""Of 256 steps of a colour: no two patches are alike."""


@dataclass(frozen=True)
class SamplePicture:
    """A picture and the signature that it is for, by its number of soft tokens."""

    tokens: int
    pixels: Pixels  # [down, across, 3]
    fills: bool
    """Whether no patch of the signature is padding."""

    def patches(self, size: int) -> PicturePatches:
        """The picture cut into squares of ``size`` pixels, as the engine cuts it."""
        down, across = (side // size for side in self.pixels.shape[:2])
        squares = self.pixels.reshape(down, size, across, size, 3).transpose(0, 2, 1, 3, 4)
        colours = squares.reshape(down * across, -1).astype(np.float32) * STEP
        x, y = np.meshgrid(np.arange(across), np.arange(down))
        places = np.stack([x, y], axis=-1).reshape(-1, 2)
        return PicturePatches(colours, places.astype(np.int32))

    def fitted(self, contract: VisionContract) -> SamplePicture:
        """The picture by the smallest signature that takes it."""
        square = contract.patch_size * contract.pooling
        count = self.pixels.shape[0] * self.pixels.shape[1] // square**2
        tokens = next(tokens for tokens in contract.image_tokens if tokens >= count)
        return SamplePicture(tokens, self.pixels, fills=count == tokens)

    def tower_input(self, contract: VisionContract) -> TowerInput:
        """As the signature takes it; the tower takes colours from -1 to 1, and they are given from 0 to 1."""
        found = self.patches(contract.patch_size)
        padded = found.padded(self.tokens * contract.pooling**2)
        return TowerInput(
            f"{self.tokens} tokens",
            f"{ENCODER_PREFIX}{self.tokens}",
            f"{ADAPTER_PREFIX}{self.tokens}",
            {IMAGES: padded.colours, POSITIONS: padded.places},
            len(found.colours),
            zero=0.5,
        )


def sample_pictures(contract: VisionContract) -> tuple[SamplePicture, ...]:
    """Two pictures for every signature; one where a signature is of a single token."""
    square = contract.patch_size * contract.pooling
    return tuple(
        SamplePicture(tokens, drawn(across * square, down * square), across * down == tokens)
        for tokens in contract.image_tokens
        for across, down in dict.fromkeys((_full(tokens), _part(tokens)))
    )


def unresized_pictures(contract: VisionContract) -> tuple[SamplePicture, ...]:
    """Pictures that the engine does not resize: none of their shape is larger within the largest budget."""
    square, tokens = contract.patch_size * contract.pooling, contract.image_tokens[-1]
    return tuple(
        SamplePicture(tokens, drawn(across * square, down * square), across * down == tokens)
        for across, down in (_full(tokens), *_unresized_part(tokens))
    )


def _full(tokens: int) -> tuple[int, int]:
    """Squares across and down of the least oblong picture of so many."""
    down = next(n for n in range(math.isqrt(tokens), 0, -1) if tokens % n == 0)
    return tokens // down, down


def _part(tokens: int) -> tuple[int, int]:
    """Fewer squares, more of them down than across: 9 down and 4 across where 7 and 10 would fill."""
    across, down = _full(tokens)
    return max(1, down * 2 // 3), max(1, across - 1)


def _unresized_part(tokens: int) -> Iterator[tuple[int, int]]:
    """The least oblong upright picture of fewer squares that could not be a square larger either way."""
    for across in range(math.isqrt(tokens), 0, -1):
        down = (tokens - 1) // across
        room = math.sqrt(tokens / (across * down)) if down else 0.0
        if down > across and all(math.floor(room * side) == side for side in (across, down)):
            yield across, down
            return


def drawn(width: int, height: int) -> Pixels:
    """Colours that change along both sides, unlike one another, and some noise; ``[height, width, 3]``."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    smooth = np.stack([x, y * y, (1 - x) * y], axis=-1) * (255 - NOISE)
    noise = np.random.default_rng(width * 10_000 + height).integers(0, NOISE, smooth.shape)
    pixels: Pixels = (smooth + noise).astype(np.uint8)
    return pixels


def png(pixels: Pixels) -> bytes:
    """A file that every decoder reads alike: no compression that loses, no colour profile."""
    down, across, _ = pixels.shape
    rows = np.concatenate([np.zeros((down, 1), np.uint8), pixels.reshape(down, -1)], axis=1)
    header = struct.pack(">IIBBBBB", across, down, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
