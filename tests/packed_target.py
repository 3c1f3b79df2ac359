"""The tiny target as a ``-qat-mobile-transformers`` checkpoint, written with transformers' own modules.

Codes and scales are random but of the trained weights' size; the configuration has the patterns of the
published E2B one. Imports nothing of this project.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Gemma4ForConditionalGeneration, GemmaQuantizationConfig
from transformers.integrations.gemma_quant import (
    QuantizedEmbedding,
    QuantizedLinear,
    replace_with_quant_layers,
)

E2B_BITS = {
    "^lm_head$": 2,
    r"language_model\.embed_tokens$": 2,
    r"language_model\.embed_tokens_per_layer$": 4,
    r"language_model\.layers\.[0-3]\.mlp\.": 4,
    r"language_model\.layers\.\d+\.mlp\.": 2,
    r"language_model\.layers\.\d+\.per_layer_input_gate$": 8,
    r"language_model\.layers\.\d+\.per_layer_projection$": 8,
    r"language_model\.layers\.\d+\.self_attn\.": 4,
}
"""As published for E2B, whose first 15 layers own KV; the tiny target's first 4 do."""

E4B_BITS = {r"language_model\.embed_tokens_per_layer$": 2} | E2B_BITS
"""E4B's per-layer table has 2 bits."""

TOWER_BITS = {
    r"audio_tower(?!.*lconv1d\.linear_start)": 2,
    r"audio_tower\.layers\.\d+\.lconv1d\.linear_start\.": 4,
    "vision_tower": 8,
}
"""As published for E2B's towers."""

TOWERS_KEPT = [
    "model.vision_tower.patch_embedder",
    "model.audio_tower.subsample_conv_projection",
    "model.audio_tower.output_proj",
    "relative_k_proj",
    "model.embed_audio",
    "model.embed_vision",
    "per_layer_model_projection",
]
"""Modules that stay float in the published files."""

KEPT = ["model.vision_tower", "model.embed_vision", "per_layer_model_projection"]
"""Modules that stay float."""

SPREAD = {2: 0.7, 4: 2.5, 8: 40.0}
"""Of random codes, by bits."""


@dataclass(frozen=True)
class Packed:
    """A folder, and the model that transformers has in it."""

    folder: Path
    model: Gemma4ForConditionalGeneration


def write_packed(
    source: Path,
    folder: Path,
    bits: dict[str, int],
    seed: int = 0,
    kept: Sequence[str] = KEPT,
) -> Packed:
    """Replace the linear layers and tables of the target in ``source`` by quantised ones."""
    model = Gemma4ForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
    groups = model.config.text_config.num_hidden_layers
    quantisation = GemmaQuantizationConfig(
        num_bits=4,
        quantize_embeddings=True,
        module_quant_configs={pattern: {"num_bits": count} for pattern, count in bits.items()},
        modules_to_not_convert=list(kept),
    )
    replace_with_quant_layers(model, quantisation, list(kept))
    random = torch.Generator().manual_seed(seed)
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            _fill(module.weight, module.weight_scale, module.num_bits, random)
        elif isinstance(module, QuantizedEmbedding):
            if name.endswith("embed_tokens_per_layer"):
                module.embedding_scale = _parameter(torch.empty(module.num_embeddings, groups))
            _fill(module.embedding_quantized, module.embedding_scale, module.num_bits, random)
    _write(model, quantisation, source, folder)
    return Packed(folder, model.eval())


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


def _fill(codes: nn.Parameter, scales: nn.Parameter, bits: int, random: torch.Generator) -> None:
    """Codes around zero that use the whole range, and scales that make values about 0.05."""
    per_byte = 8 // bits
    shape = (codes.shape[0], codes.shape[1] * per_byte)
    half = 1 << (bits - 1)
    values = (torch.randn(shape, generator=random) * SPREAD[bits]).round().clamp(-half, half - 1)
    values[0, :2] = torch.tensor([-half, half - 1])
    if bits == 8:
        codes.data.copy_(values.to(torch.int8))
    else:
        unsigned = (values + half).to(torch.int64).reshape(shape[0], -1, per_byte)
        places = bits * torch.arange(per_byte)
        codes.data.copy_((unsigned << places).sum(-1).to(torch.uint8))
    spread = 0.05 / SPREAD[bits]
    scales.data.copy_(spread * (0.5 + torch.rand(scales.shape, generator=random)))


def _write(
    model: Gemma4ForConditionalGeneration,
    quantisation: GemmaQuantizationConfig,
    source: Path,
    folder: Path,
) -> None:
    folder.mkdir()
    tensors = {
        name: (tensor.to(torch.bfloat16) if _stays_float(name, tensor) else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    text = "model.language_model.layers.0.self_attn."
    tensors[f"{text}k_cache_scale"] = torch.tensor(0.05)
    tower = "model.audio_tower.layers.0.conv."  # which need not be in any format known here
    tensors |= {f"{tower}weight": torch.zeros(2, 3, 4), f"{tower}weight_scale": torch.ones(2)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    shutil.copytree(
        source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors")
    )
    config: dict[str, Any] = json.loads((source / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
    config["quantization_config"] = quantisation.to_dict()
    (folder / "config.json").write_text(json.dumps(config))


def _stays_float(name: str, tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not name.endswith("_scale")
