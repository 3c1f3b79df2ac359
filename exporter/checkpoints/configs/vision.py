"""The vision tower that a ``config.json`` describes.

Parses the ``vision_config`` of Gemma 4 targets as transformers 5.5 to 5.24 write it. Google's own files
say ``default`` for the kind of rotation that later versions call ``axial``; the arithmetic is one.

Source: transformers ``models/gemma4/configuration_gemma4.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.configs.config_reader import (
    MOST_LAYERS,
    OF_ANY_MODEL,
    ConfigReader,
    parse_part,
)
from exporter.checkpoints.vision_architecture import VisionConfig

VISION_CONFIG = "vision_config"
MODEL_TYPE = "gemma4_vision"
ACTIVATION = "gelu_pytorch_tanh"
ROPE_TYPES = ("axial", "default")
ROPE_THETA = 100.0

READ = frozenset(
    {
        "attention_bias", "head_dim", "hidden_activation", "hidden_size", "intermediate_size", "model_type",
        "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "patch_size",
        "pooling_kernel_size", "position_embedding_size", "rms_norm_eps", "rope_parameters",
        "standardize", "use_clipped_linears",
    }
)  # fmt: skip
"""Settings that decide what the tower computes."""

WITHOUT_EFFECT = OF_ANY_MODEL | {
    "attention_dropout", "default_output_length", "global_head_dim", "max_position_embeddings",
    "num_channels",
}  # fmt: skip
"""And settings of nothing: the pictures' size is the processor's affair, and no layer of a tower looks at
``global_head_dim``."""


def parse_vision(config: Mapping[str, Any], where: str) -> VisionConfig | None:
    """Parse the tower of a target's ``config.json``; None where it has none.

    Args:
        config: The parsed JSON of a ``gemma4`` or ``gemma4_text`` model.
        where: Path or id shown in error messages.

    Raises:
        ConfigError: Listing every value that is missing or unsupported.
    """
    return parse_part(config, where, VISION_CONFIG, _tower)


def _tower(reader: ConfigReader) -> VisionConfig:
    for key in sorted(set(reader.config) - READ - WITHOUT_EFFECT):
        reader.refuse(key, "no such setting in a vision tower of Gemma 4")
    if reader.config.get("model_type", MODEL_TYPE) != MODEL_TYPE:
        reader.refuse("model_type", MODEL_TYPE)
    if reader.config.get("hidden_activation", ACTIVATION) != ACTIVATION:
        reader.refuse("hidden_activation", ACTIVATION)
    reader.forbid("attention_bias", "attention biases are not exported")
    heads = reader.integer("num_attention_heads", default=12)
    if reader.integer("num_key_value_heads", default=heads or 1) not in (0, heads):
        reader.refuse("num_key_value_heads", f"as many as num_attention_heads ({heads})")
    head_dim = reader.integer("head_dim", default=64)
    if head_dim % 4:
        reader.refuse("head_dim", "a multiple of 4: halves turn with x and y, dims in pairs")
    return VisionConfig(
        hidden_size=reader.integer("hidden_size", default=768),
        layer_count=reader.integer("num_hidden_layers", default=16, most=MOST_LAYERS),
        heads=heads,
        head_dim=head_dim,
        mlp_width=reader.integer("intermediate_size", default=3072),
        rms_norm_eps=reader.number("rms_norm_eps", default=1e-6),
        rope_theta=_rope_theta(reader),
        patch_size=reader.integer("patch_size", default=16),
        pooling=reader.integer("pooling_kernel_size", default=3),
        position_count=reader.integer("position_embedding_size", default=10_240),
        clipped=reader.flag("use_clipped_linears"),
        standardised=reader.flag("standardize"),
    )


def _rope_theta(reader: ConfigReader) -> float:
    """The base of the rotation."""
    if reader.config.get("rope_parameters") is None:
        return ROPE_THETA
    rope = reader.part("rope_parameters")
    if rope is None:
        return 0.0
    for key in sorted(set(rope.config) - {"rope_type", "rope_theta"}):
        rope.refuse(key, "no such setting")
    if rope.config.get("rope_type", ROPE_TYPES[0]) not in ROPE_TYPES:
        rope.refuse("rope_type", " or ".join(ROPE_TYPES))
    return rope.number("rope_theta", default=ROPE_THETA)
