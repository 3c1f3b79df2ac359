"""The audio tower that a ``config.json`` describes.

Parses the ``audio_config`` of Gemma 4 targets as transformers 5.5 to 5.24 write it.

Source: transformers ``models/gemma4/configuration_gemma4.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.audio_architecture import FRAMES_PER_TOKEN, MEL_BINS, AudioConfig
from exporter.checkpoints.configs.config_reader import (
    MOST_LAYERS,
    OF_ANY_MODEL,
    ConfigReader,
    is_number,
    parse_part,
)

AUDIO_CONFIG = "audio_config"
MODEL_TYPE = "gemma4_audio"
ACTIVATION = "silu"
CHANNELS = (128, 32)
MOST_TAPS = 1024
"""Of the convolution over time, each of which is a weight of its own."""
UNSEEN = -1e4
"""A score that is no higher counts for nothing in a softmax."""

READ = frozenset(
    {
        "attention_chunk_size", "attention_context_left", "attention_context_right",
        "attention_invalid_logits_value", "attention_logit_cap", "conv_kernel_size", "gradient_clipping",
        "hidden_act", "hidden_size", "model_type", "num_attention_heads", "num_hidden_layers",
        "output_proj_dims", "residual_weight", "rms_norm_eps", "subsampling_conv_channels",
        "use_clipped_linears",
    }
)  # fmt: skip
"""Settings that decide what the tower computes."""


def parse_audio(config: Mapping[str, Any], where: str) -> AudioConfig | None:
    """Parse the tower of a target's ``config.json``; None where it has none.

    Args:
        config: The parsed JSON of a ``gemma4`` or ``gemma4_text`` model.
        where: Path or id shown in error messages.

    Raises:
        ConfigError: Listing every value that is missing or unsupported.
    """
    return parse_part(config, where, AUDIO_CONFIG, _tower)


def _tower(reader: ConfigReader) -> AudioConfig:
    for key in sorted(set(reader.config) - READ - OF_ANY_MODEL):
        reader.refuse(key, "no such setting in an audio tower of Gemma 4")
    for key, value in (("model_type", MODEL_TYPE), ("hidden_act", ACTIVATION)):
        if reader.config.get(key, value) != value:
            reader.refuse(key, value)
    unseen = reader.config.get("attention_invalid_logits_value", UNSEEN)
    if not is_number(unseen) or unseen > UNSEEN:
        reader.refuse("attention_invalid_logits_value", f"{UNSEEN:g} or less")
    hidden_size = reader.integer("hidden_size", default=1024)
    heads = reader.integer("num_attention_heads", default=8)
    if heads and hidden_size % (2 * heads):
        reader.refuse("hidden_size", f"an even multiple of num_attention_heads ({heads})")
    return AudioConfig(
        hidden_size=hidden_size,
        layer_count=reader.integer("num_hidden_layers", default=12, most=MOST_LAYERS),
        heads=heads,
        channels=_channels(reader),
        kernel=reader.integer("conv_kernel_size", default=5, most=MOST_TAPS),
        window=_window(reader),
        residual_weight=reader.number("residual_weight", default=0.5),
        logit_cap=reader.number("attention_logit_cap", default=50.0),
        gradient_clipping=reader.number("gradient_clipping", default=1e10),
        rms_norm_eps=reader.number("rms_norm_eps", default=1e-6),
        output_size=reader.integer("output_proj_dims", default=1536),
        clipped=reader.flag("use_clipped_linears", default=True),
    )


def _channels(reader: ConfigReader) -> tuple[int, int]:
    """Channels of the two convolutions; transformers takes the first number for that of mel bins, too."""
    key = "subsampling_conv_channels"
    found = reader.config.get(key, CHANNELS)
    if (
        not isinstance(found, list | tuple)
        or len(found) != len(CHANNELS)
        or any(type(count) is not int or count < 1 for count in found)
        or found[0] // FRAMES_PER_TOKEN != MEL_BINS // FRAMES_PER_TOKEN
    ):
        reader.refuse(key, f"two numbers, the first of which is {MEL_BINS}")
        return CHANNELS
    return found[0], found[1]


def _window(reader: ConfigReader) -> int:
    """Tokens that attention sees. transformers computes it in chunks, whose size must be the window's."""
    window = reader.integer("attention_context_left", default=13, minimum=2) - 1
    if reader.integer("attention_context_right", default=0, minimum=0):
        reader.refuse("attention_context_right", "0, because the graphs see earlier tokens only")
    if reader.integer("attention_chunk_size", default=12) not in (0, window):
        reader.refuse(
            "attention_chunk_size", f"one less than attention_context_left, which is {window}"
        )
    return window
