"""The pictures that ``verify`` runs on: cut as transformers cuts them, and of sizes that nothing resizes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from exporter.contract.vision import DEFAULT_IMAGE_TOKENS, VisionContract
from exporter.verify.pictures import SamplePicture, drawn, png, sample_pictures, unresized_pictures

SMALL = VisionContract((1, 4, 7, 16), 4, 3, 48, 128)
REAL = VisionContract(DEFAULT_IMAGE_TOKENS, 16, 3, 768, 1536)


def squares(contract: VisionContract, picture: SamplePicture) -> int:
    height, width = picture.pixels.shape[:2]
    side = contract.patch_size * contract.pooling
    assert height % side == width % side == 0
    return int(height // side) * int(width // side)


@pytest.mark.parametrize("contract", [SMALL, REAL])
def test_every_signature_is_filled_and_left_with_padding(contract: VisionContract) -> None:
    found = sample_pictures(contract)
    filled = [picture for picture in found if picture.fills]
    assert [picture.tokens for picture in filled] == list(contract.image_tokens)
    assert all(squares(contract, picture) == picture.tokens for picture in filled)
    padded = [picture for picture in found if not picture.fills]
    assert [picture.tokens for picture in padded] == [n for n in contract.image_tokens if n > 1]
    assert all(0 < squares(contract, picture) < picture.tokens for picture in padded)


@pytest.mark.parametrize("contract", [SMALL, REAL])
def test_sizes_that_are_not_resized(contract: VisionContract) -> None:
    """By transformers' own rule, which is the engine's."""
    from transformers.models.gemma4.image_processing_pil_gemma4 import (
        get_aspect_ratio_preserving_size,
    )

    found = unresized_pictures(contract)
    assert [picture.fills for picture in found] == [True, False]
    for picture in found:
        height, width = picture.pixels.shape[:2]
        size = get_aspect_ratio_preserving_size(
            height, width, contract.patch_size, contract.max_patches, contract.pooling
        )
        assert size == (height, width)


def test_patches_are_transformers() -> None:
    from transformers.models.gemma4.image_processing_pil_gemma4 import convert_image_to_patches

    pixels = drawn(36, 24)
    patches = SamplePicture(16, pixels, fills=False).patches(4)
    expected = convert_image_to_patches(pixels.transpose(2, 0, 1).astype(np.float32) / 255, 4)
    assert np.allclose(patches.colours, expected, atol=1e-7)
    assert patches.places[:10].tolist() == [*([x, 0] for x in range(9)), [0, 1]]
    padded = patches.padded(144)
    assert (padded.places[54:] == -1).all()
    assert (padded.colours[54:] == 0).all()


def test_files_are_the_pictures() -> None:
    pixels = drawn(12, 24)
    read = Image.open(io.BytesIO(png(pixels)))
    assert (read.mode, read.size) == ("RGB", (12, 24))
    assert np.array_equal(np.asarray(read), pixels)
