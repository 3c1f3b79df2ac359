"""What unmodified transformers answers to prompts with pictures, as tokens.

In a process of its own that imports none of our models: ``python -m exporter.verify.sides.reference_replies
REQUEST.json OUT.json``. The request says what ``reference`` is told of a target, and has ``prompts``: texts
as a template renders them, with :data:`PLACE` where a picture is, and the picture files for these places;
``stops``, ``suppressed`` and ``most_tokens``. Pictures are not resized: their sides must be whole squares of
patches. What is written is a JSON list, for each prompt the tokens of the greedy reply.

One thing is done as the engine does it: every place that the engine fills itself gets the per-layer
embeddings of token 0, also the end of a picture, where transformers takes that token's own. So its row is set
to row 0.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from transformers.models.gemma4.image_processing_pil_gemma4 import convert_image_to_patches

from exporter.verify.sides.reference_tower import load_whole

PLACE = "<|image|>"


def main(request_file: str, out: str) -> None:
    """Answer every prompt of the request."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    torch.set_num_threads(int(request["threads"]))
    torch.set_grad_enabled(False)
    model = load_whole(request)
    rows = model.model.language_model.embed_tokens_per_layer.weight
    rows[model.config.eoi_token_id] = rows[0]
    tokenizer = Tokenizer.from_file(f"{request['target']}/tokenizer.json")
    replies = [reply(model, tokenizer, prompt, request) for prompt in request["prompts"]]
    Path(out).write_text(json.dumps(replies), encoding="utf-8")


def reply(
    model: Any, tokenizer: Tokenizer, prompt: dict[str, Any], request: dict[str, Any]
) -> list[int]:
    """Greedy, up to the end of the turn."""
    vision = model.config.vision_config
    pictures = [patches(path, vision.patch_size) for path in prompt["images"]]
    counts = [len(colours) // vision.pooling_kernel_size**2 for colours, _ in pictures]
    ids = token_ids(prompt["text"], counts, tokenizer, model.config)
    found = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=request["most_tokens"],
        do_sample=False,
        eos_token_id=request["stops"],
        suppress_tokens=request["suppressed"] or None,
        **(_padded(pictures) if pictures else {}),
    )
    tokens: list[int] = found[0, len(ids) :].tolist()
    return tokens


def token_ids(text: str, counts: Sequence[int], tokenizer: Tokenizer, config: Any) -> list[int]:
    """A prompt as transformers' processor makes it: soft tokens, a begin and an end for each place."""
    start, soft, end = (
        str(tokenizer.id_to_token(token))
        for token in (config.boi_token_id, config.image_token_id, config.eoi_token_id)
    )
    before, *pieces = text.split(PLACE)
    for count, piece in zip(counts, pieces, strict=True):
        before += start + soft * count + end + piece
    ids: list[int] = tokenizer.encode(before, add_special_tokens=False).ids
    bos = config.get_text_config().bos_token_id
    return ids if ids[:1] == [bos] else [bos, *ids]


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


def _padded(pictures: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    longest = max(len(images) for images, _ in pictures)
    pixels = torch.zeros(len(pictures), longest, pictures[0][0].shape[1])
    places = torch.full((len(pictures), longest, 2), -1)
    for index, (images, positions) in enumerate(pictures):
        pixels[index, : len(images)], places[index, : len(positions)] = images, positions
    return {"pixel_values": pixels, "image_position_ids": places}


if __name__ == "__main__":
    main(*sys.argv[1:])
