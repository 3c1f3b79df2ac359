"""The tiny target with an audio tower: its text model can talk, and the tower is what a test says.

Imports nothing of the exporter's models, so that nothing is compared with itself.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Gemma4AudioConfig, Gemma4AudioModel

from tests.bundles import TINY_TARGET
from tests.vision.targets import TEMPLATE, TEXT_WIDTH, Tensors, name_tokens

TOWER, ADAPTER = "model.audio_tower.", "model.embed_audio.embedding_projection.weight"

END_TOKEN = 65
AUDIO_TOKENS = {64: "<|audio>", 65: "<audio|>", 66: "<|audio|>"}
"""Begin, end and place of a clip, at the ids that the tiny target's config gives them."""

SMALL: Mapping[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "subsampling_conv_channels": [128, 4],
    "output_proj_dims": 24,
    "rms_norm_eps": 1e-3,
    "residual_weight": 0.4,
    "attention_logit_cap": 3.0,
    "gradient_clipping": 1.5,
    "use_clipped_linears": False,
}
"""RMS eps, cap and clipping are such that they show."""

CLIPPED = {**SMALL, "use_clipped_linears": True}


BEHIND_SILU = ("layer_2.input_min", "linear_end.input_min")
"""Clips of numbers that are never below -0.28."""

SMALLER = re.compile(r"(layer_2|linear_end|post)\.output|(post|layer_2)\.input")
"""Clips of small numbers."""


def random_tower(settings: Mapping[str, Any], seed: int) -> Tensors:
    """Weights of a tower and its adapter, none of them 1 or 0, by their names in a checkpoint.

    Bounds of clips are such that some tenth of all numbers are beyond them, and no two are alike.
    """
    source = torch.Generator().manual_seed(seed)
    config = Gemma4AudioConfig(**settings)
    tower = Gemma4AudioModel(config).state_dict()
    tensors = {TOWER + name: _values(name, tensor, source) for name, tensor in tower.items()}
    adapter = torch.randn(TEXT_WIDTH, config.output_proj_dims, generator=source)
    tensors[ADAPTER] = adapter * config.output_proj_dims**-0.5
    return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}


def _values(name: str, like: Tensor, source: torch.Generator) -> Tensor:
    if name.endswith(("_min", "_max")):
        sign = -1 if name.endswith("_min") else 1
        reach = 0.15 if name.endswith(BEHIND_SILU) else 0.5 if SMALLER.search(name) else 0.8
        return sign * reach * (0.8 + torch.rand((), generator=source))
    values = torch.randn(like.shape, generator=source)
    if "norm" in name:
        return 1 + 0.3 * values
    if "ffw_layer_1" in name:
        values = 3 * values  # so that some are left of the lowest of SiLU
    return values * like[0].numel() ** -0.5 if like.dim() > 1 else values


def listening(folder: Path) -> Path:
    """The tiny target with a template that has a place for sound; it has no tower for it yet."""
    shutil.copytree(TINY_TARGET, folder, dirs_exist_ok=True)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def add_tower(
    folder: Path, settings: Mapping[str, Any], tower: Tensors, end: int | None = None
) -> Path:
    """Give a target this audio tower, and tokens for sound.

    Args:
        folder: The target.
        settings: Of the tower.
        tower: Its weights.
        end: A token whose embedding the end of a clip gets.
    """
    tensors = load_file(folder / "model.safetensors")
    if end is not None:
        table = tensors["model.language_model.embed_tokens.weight"]
        table[END_TOKEN] = table[end]
    save_file({**tensors, **tower}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["audio_config"] = Gemma4AudioConfig(**settings).to_dict()
    (folder / "config.json").write_text(json.dumps(config))
    name_tokens(folder / "tokenizer.json", AUDIO_TOKENS)
    return folder
