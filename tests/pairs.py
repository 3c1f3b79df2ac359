"""Small random Gemma 4 checkpoint pairs on disk, written by unmodified transformers.

Random, not trained: weights are only chosen so that logits have spread, attention looks at several
tokens but not at all alike, and no norm or scalar is 1 (a forgotten one must show). Imports nothing
of this project. ``python tests/pairs.py e2b FOLDER`` writes one by hand.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    Gemma4AssistantConfig,
    Gemma4AssistantForCausalLM,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
)

VOCABULARY = 2048
WINDOW = 64
HEAD_DIM = 32
FULL_HEAD_DIM = 64
CENTROIDS = 64
TOP_CENTROIDS = 8

LARGE_EPS = 1e-2
"""RMS eps of the E4B-shaped pair. At the usual 1e-6 a norm cancels any scale before it, so a wrong
factor there (or a wrong eps) would not show."""
NORM_SPREAD = 0.3
QUERY_KEY_SCALE = 0.5
"""Of q_norm and k_norm: scores then spread by 1 to 2, so a query weighs dozens of entries."""
FINAL_NORM_SCALE = 3.0
"""Logits then reach into the softcap's bend."""
EMBEDDING_SCALE = 0.2
"""Small enough that the branches, not the token's own embedding, make up the residual stream."""


@dataclass(frozen=True)
class Pair:
    """Folders of a target and of its drafter."""

    target: Path
    drafter: Path


def e2b_shaped(folder: Path) -> Pair:
    """One kv head, a full layer every 4th, the upper half sharing KV with MLPs twice as wide."""
    pair = Pair(folder / "target", folder / "drafter")
    stack = _stack(kv_heads=1, layers=8, full_every=4)
    _write_target(pair.target, stack, shared=4, double_wide=True, seed=0)
    _write_drafter(pair.drafter, _stack(kv_heads=1, layers=4, full_every=4), seed=1)
    return pair


def e4b_shaped(folder: Path) -> Pair:
    """Two kv heads, a full layer every 6th, one MLP width.

    More than ten layers, so that transformers pads the keys of ``per_layer_config``.
    """
    pair = Pair(folder / "target", folder / "drafter")
    stack = _stack(kv_heads=2, layers=12, full_every=6, eps=LARGE_EPS)
    _write_target(pair.target, stack, shared=6, double_wide=False, seed=2)
    drafter_stack = _stack(kv_heads=2, layers=4, full_every=4, eps=LARGE_EPS)
    _write_drafter(pair.drafter, drafter_stack, seed=3)
    return pair


def _stack(kv_heads: int, layers: int, full_every: int, eps: float = 1e-6) -> dict[str, Any]:
    kinds = ["sliding_attention"] * (full_every - 1) + ["full_attention"]
    return {
        "vocab_size": VOCABULARY,
        "num_hidden_layers": layers,
        "layer_types": kinds * (layers // full_every),
        "num_attention_heads": 4,
        "num_key_value_heads": kv_heads,
        "head_dim": HEAD_DIM,
        "global_head_dim": FULL_HEAD_DIM,
        "sliding_window": WINDOW,
        "rms_norm_eps": eps,
        "max_position_embeddings": 2048,
    }


def _write_target(
    folder: Path, stack: dict[str, Any], *, shared: int, double_wide: bool, seed: int
) -> None:
    text = Gemma4TextConfig(
        hidden_size=128,
        intermediate_size=256,
        num_kv_shared_layers=shared,
        use_double_wide_mlp=double_wide,
        hidden_size_per_layer_input=32,
        vocab_size_per_layer_input=VOCABULARY,
        final_logit_softcapping=30.0,
        **stack,
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "position_embedding_size": 16,
    }
    config = Gemma4Config(text_config=text, vision_config=vision, audio_config=None)
    model = Gemma4ForConditionalGeneration(config)
    _fill(model, torch.Generator().manual_seed(seed))
    model.to(torch.bfloat16).save_pretrained(folder)
    _add_unused_kv(folder / "model.safetensors", stack, shared)


def _write_drafter(folder: Path, stack: dict[str, Any], *, seed: int) -> None:
    text = Gemma4TextConfig(
        hidden_size=64,
        intermediate_size=128,
        num_kv_shared_layers=stack["num_hidden_layers"],
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=0,
        **stack,
    )
    config = Gemma4AssistantConfig(
        text_config=text,
        backbone_hidden_size=128,
        use_ordered_embeddings=True,
        num_centroids=CENTROIDS,
        centroid_intermediate_top_k=TOP_CENTROIDS,
    )
    model = Gemma4AssistantForCausalLM(config)
    source = torch.Generator().manual_seed(seed)
    _fill(model, source)
    assert model.masked_embedding is not None
    model.masked_embedding.token_ordering.copy_(torch.randperm(VOCABULARY, generator=source))
    model.to(torch.bfloat16).save_pretrained(folder)


@torch.no_grad()
def _fill(model: nn.Module, source: torch.Generator) -> None:
    scalars = [(name, b) for name, b in model.named_buffers() if name.endswith("layer_scalar")]
    for name, tensor in [*model.named_parameters(), *scalars]:
        tensor.copy_(_values(name, tensor, source))


def _values(name: str, like: Tensor, source: torch.Generator) -> Tensor:
    if name.endswith("layer_scalar"):
        return 0.6 + 0.6 * torch.rand(like.shape, generator=source)
    noise = torch.randn(like.shape, generator=source)
    if "norm" in name:
        scale = QUERY_KEY_SCALE if name.endswith(("q_norm.weight", "k_norm.weight")) else 1.0
        if name.endswith((".language_model.norm.weight", "model.norm.weight")):
            scale = FINAL_NORM_SCALE
        return scale * (1 + NORM_SPREAD * noise)
    if "embed_tokens" in name:
        return EMBEDDING_SCALE * noise
    return noise / math.sqrt(like.shape[-1])


def _add_unused_kv(file: Path, stack: dict[str, Any], shared: int) -> None:
    """Real checkpoints may carry keys and values for layers that use another layer's."""
    tensors = load_file(file)
    layers, source = stack["num_hidden_layers"], torch.Generator().manual_seed(9)
    for index in (layers - shared, layers - 1):
        full = stack["layer_types"][index] == "full_attention"
        width = FULL_HEAD_DIM if full else HEAD_DIM
        rows = stack["num_key_value_heads"] * width
        prefix = f"model.language_model.layers.{index}.self_attn."
        for part, shape in (("k_proj", (rows, 128)), ("v_proj", (rows, 128)), ("k_norm", (width,))):
            values = torch.randn(shape, generator=source).to(torch.bfloat16)
            tensors[f"{prefix}{part}.weight"] = values
        tensors[f"{prefix}v_norm.weight"] = torch.ones(width, dtype=torch.bfloat16)
    save_file(tensors, file, {"format": "pt"})


if __name__ == "__main__":
    {"e2b": e2b_shaped, "e4b": e4b_shaped}[sys.argv[1]](Path(sys.argv[2]))
