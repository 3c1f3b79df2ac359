"""The small architectures, of unmodified transformers classes, and their initial weights.

Knows configs and initial values; does not know data or training.
"""

from dataclasses import dataclass
from typing import Any

import torch
from pair_parts import BOS, DRAFTER_LAYERS, EOS, FULL, PAD, ROPE, SLIDING, STOP_IDS
from torch import nn
from transformers import (
    Gemma4AssistantConfig,
    Gemma4AssistantForCausalLM,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    Gemma4VisionConfig,
)

from .centroids import centroid_head
from .chat import VOCABULARY

WINDOW = 64
CLUSTERS = 64
ACTIVE_CLUSTERS = 8

# All different, none 1, all exact in bfloat16: a converter that drops them is found out.
LAYER_SCALARS = (0.75, 1.125, 0.875, 1.0625, 0.625, 1.1875, 0.9375, 0.8125)


@dataclass(frozen=True)
class Sizes:
    """What differs between pairs; full-attention heads are twice as wide as sliding ones."""

    vocabulary: int
    hidden: int
    mlp: int  # of layers with KV of their own; the others have twice as much
    head_dim: int
    per_layer_width: int
    drafter_hidden: int
    drafter_mlp: int


TINY = Sizes(VOCABULARY, 128, 256, 32, 32, 64, 128)
CODE = Sizes(4096, 256, 384, 64, 64, 128, 256)
"""For source text: every width a multiple of 64, so that blocks of 32 and 64 fit everywhere."""


def _common(sizes: Sizes) -> dict[str, Any]:
    return {
        "vocab_size": sizes.vocabulary,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": sizes.head_dim,
        "global_head_dim": 2 * sizes.head_dim,
        "num_kv_shared_layers": 4,
        "sliding_window": WINDOW,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_parameters": ROPE,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "tie_word_embeddings": True,
    }


def target_config(sizes: Sizes) -> Gemma4Config:
    """Eight layers (KV donors 2 and 3), per-layer embeddings, a vision tower nobody uses."""
    text = Gemma4TextConfig(
        **_common(sizes),
        hidden_size=sizes.hidden,
        intermediate_size=sizes.mlp,
        use_double_wide_mlp=True,
        num_hidden_layers=8,
        layer_types=[SLIDING, SLIDING, SLIDING, FULL] * 2,
        hidden_size_per_layer_input=sizes.per_layer_width,
        vocab_size_per_layer_input=sizes.vocabulary,
        final_logit_softcapping=30.0,
    )
    vision = Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        patch_size=4,
        position_embedding_size=16,
    )
    outer: dict[str, Any] = {"eos_token_id": STOP_IDS}  # a field of the base class, not of this one
    return Gemma4Config(
        text_config=text,
        vision_config=vision,
        audio_config=None,
        boi_token_id=60,
        eoi_token_id=61,
        image_token_id=62,
        video_token_id=63,
        boa_token_id=64,
        eoa_token_index=65,
        audio_token_id=66,
        **outer,
    )


def drafter_config(sizes: Sizes) -> Gemma4AssistantConfig:
    """Four query-only layers over the target's KV; a centroid head of 64 clusters."""
    text = Gemma4TextConfig(
        **_common(sizes),
        hidden_size=sizes.drafter_hidden,
        intermediate_size=sizes.drafter_mlp,
        num_hidden_layers=4,
        layer_types=list(DRAFTER_LAYERS),
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=0,
    )
    outer: dict[str, Any] = {"eos_token_id": STOP_IDS}
    return Gemma4AssistantConfig(
        text_config=text,
        backbone_hidden_size=sizes.hidden,
        use_ordered_embeddings=True,
        num_centroids=CLUSTERS,
        centroid_intermediate_top_k=ACTIVE_CLUSTERS,
        **outer,
    )


@torch.no_grad()
def _start_weights(model: nn.Module, width: int) -> None:
    """Unit-variance starts: the default 0.02 suits widths ten times ours.

    Args:
        model: All of it is filled.
        width: Of the per-layer embeddings, whose table has rows of all layers.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            parameter.fill_(0.5)  # attention scale is 1, so the norms carry it
        elif "post_" in name and "norm" in name:
            parameter.fill_(0.4)
        elif name.endswith("embed_tokens_per_layer.weight"):
            parameter.normal_(std=width**-0.5)
        elif parameter.ndim == 2:
            parameter.normal_(std=parameter.shape[1] ** -0.5)


def new_target(sizes: Sizes, seed: int) -> Gemma4ForConditionalGeneration:
    """A fresh target with its fixed layer scalars, in float32."""
    torch.manual_seed(seed)
    model = Gemma4ForConditionalGeneration(target_config(sizes))
    _start_weights(model.model.language_model, sizes.per_layer_width)
    for layer, scalar in zip(model.model.language_model.layers, LAYER_SCALARS, strict=True):
        layer.layer_scalar.fill_(scalar)
    return model


def new_drafter(sizes: Sizes, seed: int) -> Gemma4AssistantForCausalLM:
    """A fresh drafter in float32, its token ordering the identity until the head is clustered."""
    torch.manual_seed(seed + 1)
    model = Gemma4AssistantForCausalLM(drafter_config(sizes))
    _start_weights(model, sizes.per_layer_width)
    centroid_head(model).token_ordering.copy_(torch.arange(sizes.vocabulary))
    return model
