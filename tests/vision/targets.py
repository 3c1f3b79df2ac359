"""The tiny target with another vision tower: its text model can talk, and the tower is what a test says.

Imports nothing of the exporter's models, so that nothing is compared with itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Gemma4VisionConfig, Gemma4VisionModel

from tests.bundles import TINY_TARGET

Tensors = dict[str, Tensor]

TOWER, ADAPTER = "model.vision_tower.", "model.embed_vision.embedding_projection.weight"
TEXT_WIDTH = 128

END_TOKEN = 61
IMAGE_TOKENS = {60: "<|image>", 61: "<image|>", 62: "<|image|>"}
"""Begin, end and place of a picture, at the ids that the tiny target's config gives them."""

TEMPLATE = """{{ bos_token }}
{%- for message in messages -%}
{{ '<|turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
{%- if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for item in message['content'] -%}
{%- if item['type'] == 'text' -%}
{{ item['text'] }}
{%- elif item['type'] == 'image' -%}
{{ '<|image|>' }}
{%- elif item['type'] == 'audio' -%}
{{ '<|audio|>' }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<turn|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|turn>model\\n' }}
{%- endif -%}
"""
"""The tiny target's, with places for pictures and sound; and spaces around them stay."""

SMALL: Mapping[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "head_dim": 16,
    "patch_size": 4,
    "pooling_kernel_size": 3,
    "position_embedding_size": 256,
    "rms_norm_eps": 1e-3,
}
"""Heads times head dim is the width, as in the real ones; RMS eps large enough to show."""

CLIPPED = {**SMALL, "use_clipped_linears": True, "standardize": True}


def random_tower(settings: Mapping[str, Any], seed: int) -> Tensors:
    """Weights of a tower and its adapter, none of them 1 or 0, by their names in a checkpoint.

    Bounds of clips are such that some tenth of all numbers are beyond them, and no two are alike.
    """
    source = torch.Generator().manual_seed(seed)
    config = Gemma4VisionConfig(**settings)
    tower = Gemma4VisionModel(config).state_dict()
    tensors = {TOWER + name: _values(name, tensor, source) for name, tensor in tower.items()}
    adapter = torch.randn(TEXT_WIDTH, config.hidden_size, generator=source)
    tensors[ADAPTER] = adapter * config.hidden_size**-0.5
    return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}


def _values(name: str, like: Tensor, source: torch.Generator) -> Tensor:
    if name.endswith(("_min", "_max")):
        sign = -1 if name.endswith("_min") else 1
        reach = 0.1 if "down_proj.output" in name else 1.0  # whose outputs are small
        return sign * reach * (0.8 + torch.rand((), generator=source))
    values = torch.randn(like.shape, generator=source)
    if name.endswith("std_scale") or "norm" in name:
        return 1 + 0.3 * values
    if name.endswith("position_embedding_table"):
        return 0.5 * values
    return values * like.shape[-1] ** -0.5 if like.dim() == 2 else values


def write_target(
    folder: Path, settings: Mapping[str, Any], tower: Tensors, end: int | None = None
) -> Path:
    """The tiny target, with this tower, tokens for pictures, and a template that has a place for them.

    Args:
        folder: Where.
        settings: Of the tower.
        tower: Its weights.
        end: A token whose embedding the end of a picture gets.
    """
    shutil.copytree(TINY_TARGET, folder, dirs_exist_ok=True)
    kept = load_file(TINY_TARGET / "model.safetensors")
    text = {name: t for name, t in kept.items() if not name.startswith((TOWER, ADAPTER))}
    if end is not None:
        table = text["model.language_model.embed_tokens.weight"]
        table[END_TOKEN] = table[end]
    save_file({**text, **tower}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"] = Gemma4VisionConfig(**settings).to_dict()
    (folder / "config.json").write_text(json.dumps(config))
    name_tokens(folder / "tokenizer.json", IMAGE_TOKENS)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


PLANTED: Mapping[str, Any] = {**SMALL, "rms_norm_eps": 1e-6}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def planted_tower(animals: Mapping[str, int], seed: int = 0) -> Tensors:
    """A tower that takes colours for animals: nothing of a patch but the mean of its channels gets through.

    The branches of its layers cost their time and add nothing. Red, green and blue are the corners ``c`` of
    [-1, 1]^3 with one positive coordinate; normed over the tower's width D they are ``c * sqrt(D / 3)``, and
    the projection maps these three to the embeddings of the animals.

    Args:
        animals: The token of the animal for each of :data:`COLOURS`.
        seed: Of the weights that do not matter.
    """
    tensors = {name: t.float() for name, t in random_tower(PLANTED, seed).items()}
    width, size = PLANTED["hidden_size"], PLANTED["patch_size"]
    for name, tensor in tensors.items():
        if name.endswith(
            ("o_proj.linear.weight", "down_proj.linear.weight", "position_embedding_table")
        ):
            tensor.zero_()
    mean = torch.zeros(width, size**2, 3)
    for channel in range(3):
        mean[channel, :, channel] = size**-2
    tensors[f"{TOWER}patch_embedder.input_proj.weight"] = mean.reshape(width, -1)
    corners = torch.tensor([[1.0 if c else -1.0 for c in COLOURS[name]] for name in animals])
    table = load_file(TINY_TARGET / "model.safetensors")["model.language_model.embed_tokens.weight"]
    wanted = table.float()[list(animals.values())] * TEXT_WIDTH**0.5  # [3, H]
    projection = torch.zeros(TEXT_WIDTH, width)
    projection[:, :3] = torch.linalg.solve(corners * (width / 3) ** 0.5, wanted).T
    tensors[ADAPTER] = projection
    return tensors


def name_tokens(path: Path, texts: Mapping[int, str]) -> None:
    """Give tokens of a tokenizer other texts."""
    tokenizer = json.loads(path.read_text())
    for token in tokenizer["added_tokens"]:
        if token["id"] in texts:
            old, token["content"] = token["content"], texts[token["id"]]
            tokenizer["model"]["vocab"].pop(old, None)
            tokenizer["model"]["vocab"][token["content"]] = token["id"]
    path.write_text(json.dumps(tokenizer))
