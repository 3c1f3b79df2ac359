"""What unmodified transformers answers to pictures and sound: ``python reference_replies.py CHECKPOINT``.

In a process of its own that imports nothing of this project. On stdin a JSON list of prompts, each a list of
texts, of ``{"image": PATH}``, whose sizes are whole squares of patches, so that nothing is resized, and of
``{"audio": PATH, "frames": F}``, a WAV of 16 kHz that is cut into pieces of F frames as the engine cuts
it, each encoded by itself; on stdout a JSON list of greedy replies.

One thing is done as the engine does it: every negative id in its prompts gets the per-layer embeddings of
token 0, also those for the end of a picture and of sound, where transformers takes that token's own. So
their rows are set to row 0.
"""

from __future__ import annotations

import json
import sys
import wave
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Gemma4AudioFeatureExtractor, Gemma4ForConditionalGeneration
from transformers.models.gemma4.image_processing_pil_gemma4 import convert_image_to_patches

MOST_TOKENS = 32
FRAMES_PER_TOKEN = 4
STOPS = (1, 106, 50)


def main(checkpoint: str) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    model = Gemma4ForConditionalGeneration.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    rows = model.model.language_model.embed_tokens_per_layer.weight
    rows[[model.config.eoi_token_id, model.config.eoa_token_index]] = rows[0].clone()
    tokenizer = Tokenizer.from_file(f"{checkpoint}/tokenizer.json")
    json.dump([reply(model, tokenizer, prompt) for prompt in json.load(sys.stdin)], sys.stdout)


def reply(model: Any, tokenizer: Tokenizer, prompt: list[Any]) -> str:
    """Greedy, up to the end of the turn."""
    config, ids, pictures, pieces = model.config, [2, 105], [], []
    ids += tokenizer.encode("user\n", add_special_tokens=False).ids
    for part in prompt:
        if isinstance(part, str):
            ids += tokenizer.encode(part, add_special_tokens=False).ids
            continue
        if "audio" in part:
            heard = clip(part["audio"], part["frames"])
            pieces += heard
            count = sum(-(-int(mask.sum()) // FRAMES_PER_TOKEN) for _, mask in heard)
            ids += [config.boa_token_id, *[config.audio_token_id] * count, config.eoa_token_index]
            continue
        images, positions = patches(part["image"], config.vision_config.patch_size)
        pictures.append((images, positions))
        count = len(images) // config.vision_config.pooling_kernel_size**2
        ids += [config.boi_token_id, *[config.image_token_id] * count, config.eoi_token_id]
    ids += [106, *tokenizer.encode("\n", add_special_tokens=False).ids, 105]
    ids += tokenizer.encode("model\n", add_special_tokens=False).ids
    given = _padded(pictures) if pictures else {}
    if pieces:
        frames, masks = (torch.stack(part) for part in zip(*pieces, strict=True))
        given |= {"input_features": frames, "input_features_mask": masks}
    found = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=MOST_TOKENS,
        do_sample=False,
        **given,
    )
    said = [token for token in found[0, len(ids) :].tolist() if token not in STOPS]
    return tokenizer.decode(said, skip_special_tokens=False)


def patches(path: str, patch_size: int) -> tuple[Tensor, Tensor]:
    """A picture's patches and their places."""
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    down, across = pixels.shape[0] // patch_size, pixels.shape[1] // patch_size
    x, y = np.meshgrid(np.arange(across), np.arange(down))
    positions = np.stack([x, y], axis=-1).reshape(-1, 2)
    return (
        torch.from_numpy(convert_image_to_patches(pixels.transpose(2, 0, 1), patch_size)),
        torch.from_numpy(positions),
    )


def clip(path: str, longest: int) -> list[tuple[Tensor, Tensor]]:
    """Frames of a WAV file and a mask of them, in pieces."""
    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(1 << 15)
    made = Gemma4AudioFeatureExtractor()([samples], return_tensors="pt", pad_to_multiple_of=None)
    frames = made["input_features"][0]
    pieces = []
    for some in frames.split(longest):
        piece = torch.zeros(longest, frames.shape[1])
        piece[: len(some)] = some
        pieces.append((piece, torch.arange(longest) < len(some)))
    return pieces


def _padded(pictures: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    longest = max(len(images) for images, _ in pictures)
    pixels = torch.zeros(len(pictures), longest, pictures[0][0].shape[1])
    places = torch.full((len(pictures), longest, 2), -1)
    for index, (images, positions) in enumerate(pictures):
        pixels[index, : len(images)], places[index, : len(positions)] = images, positions
    return {"pixel_values": pixels, "image_position_ids": places}


if __name__ == "__main__":
    main(sys.argv[1])
