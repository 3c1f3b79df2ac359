"""The tiny target with an audio tower: its text model can talk, and the tower is what a test says.

Imports nothing of the exporter's models, so that nothing is compared with itself.
"""

from __future__ import annotations

import json
import math
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


PLANTED: Mapping[str, Any] = {**SMALL, "rms_norm_eps": 1e-6, "gradient_clipping": 1e10}
TONES = {"low": 40, "middle": 72, "high": 100}
"""Mel bins: multiples of 4, which the two strides of 2 leave standing."""


def frequency(mel_bin: int) -> float:
    """Hertz in the middle of one of the 128 bins between 0 and 8000 (the HTK scale)."""
    top = math.log1p(8000 / 700)
    return 700 * math.expm1((mel_bin + 1) * top / 129)


def planted_tower(animals: Mapping[str, int], seed: int = 0) -> Tensors:
    """A tower that takes tones for animals: nothing of a frame but its loudest bins gets through.

    The first convolution gives a bin and its negative to two channels; the norm, over channels, leaves only
    their signs, so loud bins are alike, and so are silent ones. The second one hands that on. The projection
    keeps three bins, one for each of :data:`TONES`. Branches of layers cost their time and add nothing. What
    is left is the unit vector of the tone, times the root of the width, and the adapter maps that to the
    embedding of the animal.

    Args:
        animals: The token of the animal for each of :data:`TONES`.
        seed: Of the weights that do not matter.
    """
    tensors = {name: t.float() for name, t in random_tower(PLANTED, seed).items()}
    for name, tensor in tensors.items():
        if name.endswith(
            ("layer_2.linear.weight", "post.linear.weight", "linear_end.linear.weight")
        ):
            tensor.zero_()
        if name.endswith("norm_out.weight") or ".layer0.norm" in name or ".layer1.norm" in name:
            tensor.fill_(1.0)
    convolutions = f"{TOWER}subsample_conv_projection."
    first, second, projection, output = (
        torch.zeros_like(tensors[name])
        for name in (
            f"{convolutions}layer0.conv.weight",
            f"{convolutions}layer1.conv.weight",
            f"{convolutions}input_proj_linear.weight",
            f"{TOWER}output_proj.weight",
        )
    )
    first[0, 0, 1, 1], first[1, 0, 1, 1] = 1.0, -1.0
    second[0, 0, 1, 1] = second[1, 1, 1, 1] = 1.0
    channels, width = PLANTED["subsampling_conv_channels"][1], PLANTED["output_proj_dims"]
    for index, name in enumerate(animals):
        projection[index, TONES[name] // 4 * channels] = 1.0
        output[index, index] = 1.0
    table = load_file(TINY_TARGET / "model.safetensors")["model.language_model.embed_tokens.weight"]
    adapter = torch.zeros(TEXT_WIDTH, width)
    wanted = table.float()[list(animals.values())] * TEXT_WIDTH**0.5  # [3, H]
    adapter[:, : len(animals)] = wanted.T / width**0.5
    return {
        **tensors,
        f"{convolutions}layer0.conv.weight": first,
        f"{convolutions}layer1.conv.weight": second,
        f"{convolutions}input_proj_linear.weight": projection,
        f"{TOWER}output_proj.weight": output,
        f"{TOWER}output_proj.bias": torch.zeros(width),
        ADAPTER: adapter,
    }
