"""A file of a picture as the patches that the encoder takes, as the stock engine makes them.

The engine decodes with stb_image and resizes in linear light with Catmull-Rom; here Pillow does, with the
corresponding arithmetic. Pictures that already have the size they would be given are not resized.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporter.contract.vision import VisionContract
from runtime_py.chat.media import MediaError
from runtime_py.litert.pictures import PicturePatches

Floats = NDArray[np.float32]

FORMATS = ("PNG", "JPEG")


def picture_patches(content: bytes, contract: VisionContract, image_tokens: int) -> PicturePatches:
    """The patches of a picture that becomes at most ``image_tokens`` soft tokens.

    Args:
        content: Of a PNG or JPEG that was looked at (:mod:`~runtime_py.chat.media_format`).
        contract: How large patches are, and how many become a token.
        image_tokens: The most tokens.

    Raises:
        MediaError: The content is damaged, or too long and narrow for so few tokens.
    """
    side = contract.patch_size * contract.pooling
    pixels = _decoded(content)
    height, width = target_size(pixels.shape[0], pixels.shape[1], side, image_tokens)
    if pixels.shape[:2] != (height, width):
        pixels = _resized(pixels, height, width)
    return _patches(pixels, contract.patch_size)


def target_size(height: int, width: int, side: int, image_tokens: int) -> tuple[int, int]:
    """Height and width in pixels that a picture is given.

    The largest whose shape is the picture's, rounded down to whole squares of ``side``, of which there are
    at most ``image_tokens``: 480 x 640 is 12 x 16 squares if there may be 210, and 9 x 12 if 140. Source:
    ``get_aspect_ratio_preserving_size`` of transformers, which the engine does likewise.
    """
    factor = math.sqrt(image_tokens * side**2 / (height * width))
    down, across = (math.floor(factor * length / side) for length in (height, width))
    if down == 0:
        down, across = 1, min(width // height, image_tokens)
    elif across == 0:
        down, across = min(height // width, image_tokens), 1
    return down * side, across * side


def _decoded(content: bytes) -> NDArray[np.uint8]:
    """Pixels ``[height, width, 3]``; transparency is dropped, and the turn that EXIF notes ignored."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.mode.startswith("I"):  # 16 bits of grey; the engine keeps the upper 8
                grey = (np.asarray(picture) >> 8).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # what a damaged file makes the decoder raise is of many types
        raise MediaError(f"expected a PNG or JPEG that can be decoded ({error})") from error


def _resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """In linear light, with Catmull-Rom, whose kernel grows with what it makes smaller.

    Past the edges a picture goes on as it ends there, where Pillow alone would weigh what is inside more.
    """
    down = 2 * math.ceil(max(1, pixels.shape[0] / height))
    across = 2 * math.ceil(max(1, pixels.shape[1] / width))
    around = ((down, down), (across, across))
    inside = (across, down, across + pixels.shape[1], down + pixels.shape[0])
    light = [  # a colour after the other: a large picture takes 350 MB for each
        Image.fromarray(_LINEAR[np.pad(pixels[:, :, channel], around, mode="edge")]).resize(
            (width, height), Image.Resampling.BICUBIC, box=inside
        )
        for channel in range(3)
    ]
    stored = _stored(np.clip(np.stack(list(map(np.asarray, light)), axis=-1), 0, 1))
    shown: NDArray[np.uint8] = np.rint(stored * 255).astype(np.uint8)
    return shown


def _linear(values: Floats) -> Floats:
    """Light for what sRGB stores, both from 0 to 1."""
    low = values / 12.92
    return np.where(values <= 0.04045, low, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _stored(light: Floats) -> Floats:
    """The reverse of :func:`_linear`."""
    high = 1.055 * light ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, light * 12.92, high).astype(np.float32)


_LINEAR = _linear(np.linspace(0, 1, 256, dtype=np.float32))


STEP = np.float32(1 / 255)
"""Of a colour. The engine multiplies by it; dividing differs in the last bit, which shows in int8 towers."""


def _patches(pixels: NDArray[np.uint8], size: int) -> PicturePatches:
    down, across = pixels.shape[0] // size, pixels.shape[1] // size
    grid = pixels.reshape(down, size, across, size, 3).transpose(0, 2, 1, 3, 4)
    y, x = np.divmod(np.arange(down * across, dtype=np.int32), np.int32(across))
    colours = grid.reshape(down * across, -1).astype(np.float32) * STEP
    return PicturePatches(colours, np.stack([x, y], axis=-1))
