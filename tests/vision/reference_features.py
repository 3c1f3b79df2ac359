"""What unmodified transformers makes of pictures: ``python reference_features.py CHECKPOINT OUT.npz``.

In a process of its own that imports nothing of this project. Float32, eager attention. Arrays, for every
picture that :data:`SHAPES` and :data:`SIZES` name:
    <picture>.images     [P, 3 * p * p]
    <picture>.positions  [P, 2]
    <picture>.features   [T, D]   of the tower, padding left out
    <picture>.embeddings [T, H]   after ``embed_vision``
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import Gemma4ForConditionalGeneration, Gemma4ImageProcessorPil

SHAPES = {"square": (12, 12), "narrow": (9, 12), "wide": (15, 6), "small": (3, 3)}
"""Pictures of random pixels, in patches across and down, in a graph for 144 patches."""

PATCHES = 144

SIZES = {"landscape": (640, 480), "portrait": (90, 410), "strip": (1200, 36), "stamp": (7, 8)}
"""Drawn pictures in pixels, resized by transformers' processor for 70 tokens."""

TOKENS = 70


def main(checkpoint: str, out: str) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    model = Gemma4ForConditionalGeneration.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    vision = model.config.vision_config
    pictures = {name: random_patches(*shape, vision.patch_size) for name, shape in SHAPES.items()}
    processor = Gemma4ImageProcessorPil(
        patch_size=vision.patch_size,
        pooling_kernel_size=vision.pooling_kernel_size,
        max_soft_tokens=TOKENS,
    )
    for name, size in SIZES.items():
        batch = processor(drawn(*size), return_tensors="pt")
        pictures[name] = batch["pixel_values"][0], batch["image_position_ids"][0]
    arrays = {}
    for name, (images, positions) in pictures.items():
        found = model.model.get_image_features(images[None], positions[None], return_dict=True)
        arrays[f"{name}.images"], arrays[f"{name}.positions"] = images.numpy(), positions.numpy()
        arrays[f"{name}.features"] = found.last_hidden_state.numpy()
        arrays[f"{name}.embeddings"] = torch.cat(list(found.pooler_output)).numpy()
    np.savez(out, **arrays)  # type: ignore[arg-type]


def random_patches(across: int, down: int, patch_size: int) -> tuple[Tensor, Tensor]:
    """Patches ``[144, 3 * p * p]`` and their places ``[144, 2]``, padded."""
    source = torch.Generator().manual_seed(across * 100 + down)
    count = across * down
    images = torch.zeros(PATCHES, 3 * patch_size**2)
    images[:count] = torch.rand(count, 3 * patch_size**2, generator=source)
    positions = torch.full((PATCHES, 2), -1)
    index = torch.arange(count)
    positions[:count] = torch.stack([index % across, index // across], dim=-1)
    return images, positions


def drawn(width: int, height: int) -> Image.Image:
    """A gradient with a disc of another colour in it, neither symmetric."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    disc = (x - 0.3) ** 2 + (y - 0.6) ** 2 < 0.05
    channels = [np.where(disc, 0.9, x), np.where(disc, 0.1, y), np.where(disc, x * y, 0.4)]
    return Image.fromarray((np.stack(channels, axis=-1) * 255).astype(np.uint8))


if __name__ == "__main__":
    main(*sys.argv[1:])
