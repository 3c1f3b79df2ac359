"""What unmodified transformers answers to prompts with pictures or with clips, as tokens.

In a process of its own that imports none of our models: ``python -m exporter.verify.sides.reference_replies
REQUEST.json OUT.json``. The request says what ``reference`` is told of a target, ``tower`` (``vision`` or
``audio``), and has ``prompts``: texts as a template renders them, with the mark of :data:`MEDIA` where a
picture or a clip is, and the files for these places; ``stops``, ``suppressed`` and ``most_tokens``. Pictures
are files of images; they are not resized, so their sides must be whole squares of patches. Clips are ``.npz``
files of what the engine makes of them: ``frames`` ``[pieces, F, M]`` and ``mask`` bool ``[pieces, F]``; each
piece is encoded by itself. What is written is a JSON list, for each prompt the tokens of the greedy reply.

One thing is done as the engine does it: every place that the engine fills itself gets the per-layer
embeddings of token 0, also the end of a picture or a clip, where transformers takes that token's own. So its
row is set to row 0.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from transformers.models.gemma4.image_processing_pil_gemma4 import convert_image_to_patches

from exporter.verify.sides.reference_tower import load_whole

FRAMES_PER_TOKEN = 4


@dataclass(frozen=True)
class Medium:
    """What stands for a picture or a clip in templates, and what a config calls its tokens."""

    place: str
    start_id: str
    soft_id: str
    end_id: str


MEDIA = {
    "vision": Medium("<|image|>", "boi_token_id", "image_token_id", "eoi_token_id"),
    "audio": Medium("<|audio|>", "boa_token_id", "audio_token_id", "eoa_token_index"),
}
"""By tower."""


@dataclass(frozen=True)
class Given:
    """What a prompt's files become: soft tokens of each, and arguments of the model."""

    counts: tuple[int, ...]
    arguments: dict[str, Tensor]


def main(request_file: str, out: str) -> None:
    """Answer every prompt of the request."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    torch.set_num_threads(int(request["threads"]))
    torch.set_grad_enabled(False)
    model = load_whole(request)
    rows = model.model.language_model.embed_tokens_per_layer.weight
    rows[getattr(model.config, MEDIA[request["tower"]].end_id)] = rows[0]
    tokenizer = Tokenizer.from_file(f"{request['target']}/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    replies = [reply(model, tokenizer, prompt, request) for prompt in request["prompts"]]
    Path(out).write_text(json.dumps(replies), encoding="utf-8")


def reply(
    model: Any, tokenizer: Tokenizer, prompt: dict[str, Any], request: dict[str, Any]
) -> list[int]:
    """Greedy, up to the end of the turn."""
    files = prompt["files"]
    given = sounds(files) if request["tower"] == "audio" else pictures(files, model.config)
    medium = MEDIA[request["tower"]]
    ids = token_ids(prompt["text"], given.counts, tokenizer, model.config, medium)
    found = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=request["most_tokens"],
        do_sample=False,
        eos_token_id=request["stops"],
        suppress_tokens=request["suppressed"] or None,
        **given.arguments,
    )
    tokens: list[int] = found[0, len(ids) :].tolist()
    return tokens


def token_ids(
    text: str, counts: Sequence[int], tokenizer: Tokenizer, config: Any, medium: Medium
) -> list[int]:
    """A prompt as transformers' processor makes it: soft tokens, a begin and an end for each place."""
    start, soft, end = (
        str(tokenizer.id_to_token(getattr(config, name)))
        for name in (medium.start_id, medium.soft_id, medium.end_id)
    )
    before, *pieces = text.split(medium.place)
    for count, piece in zip(counts, pieces, strict=True):
        before += start + soft * count + end + piece
    ids: list[int] = tokenizer.encode(before, add_special_tokens=False).ids
    bos = config.get_text_config().bos_token_id
    return ids if ids[:1] == [bos] else [bos, *ids]


def pictures(files: Sequence[str], config: Any) -> Given:
    """Patches, padded to the largest picture's."""
    vision = config.vision_config
    found = [patches(path, vision.patch_size) for path in files]
    longest = max(len(images) for images, _ in found)
    pixels = torch.zeros(len(found), longest, found[0][0].shape[1])
    places = torch.full((len(found), longest, 2), -1)
    for index, (images, positions) in enumerate(found):
        pixels[index, : len(images)], places[index, : len(positions)] = images, positions
    counts = tuple(len(images) // vision.pooling_kernel_size**2 for images, _ in found)
    return Given(counts, {"pixel_values": pixels, "image_position_ids": places})


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


def sounds(files: Sequence[str]) -> Given:
    """The pieces of all clips, one after another."""
    frames, masks, counts = [], [], []
    for path in files:
        with np.load(path) as stored:
            frames.append(torch.from_numpy(stored["frames"]))
            masks.append(torch.from_numpy(stored["mask"]))
        counts.append(sum(-(-int(mask.sum()) // FRAMES_PER_TOKEN) for mask in masks[-1]))
    arguments = {"input_features": torch.cat(frames), "input_features_mask": torch.cat(masks)}
    return Given(tuple(counts), arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
