"""Which parameters an audio tower and its adapter have: names and shapes, said without torch.

As ``exporter.weights.parameters`` does for the text model; a test compares it with the modules' own.
"""

from __future__ import annotations

from exporter.checkpoints.audio_architecture import AudioConfig
from exporter.contract.names import Section, TensorSpec
from exporter.weights.tower_parameters import (
    END_EMBEDDING,
    PROJECTION,
    Named,
    clipped_linear,
    vector,
)

TAPS = 9
"""Numbers in a kernel of the convolutions over time and frequency, three by three."""

SUBSAMPLING = "subsample_conv_projection."
QUERY_SCALE, RELATIVE_KEYS = "self_attn.query_scale", "self_attn.relative_keys"
CONVOLUTION, TAP = ".conv.weight", ".depthwise_conv1d.taps."
"""Parts of names of parameters that are made of a tensor, or have another layout."""


def audio_parameter_specs(
    config: AudioConfig, text_width: int
) -> dict[Section, dict[str, TensorSpec]]:
    """Every parameter of the sections for sound, by the names the graphs use."""
    return {
        Section.AUDIO_ENCODER: dict(_tower(config)),
        Section.AUDIO_ADAPTER: {PROJECTION: TensorSpec((text_width, config.output_size))},
        Section.END_OF_AUDIO: {END_EMBEDDING: vector(text_width)},
    }


def _tower(config: AudioConfig) -> Named:
    width = config.hidden_size
    inputs = 1
    for index, outputs in enumerate(config.channels):
        layer = f"{SUBSAMPLING}layer{index}"
        yield f"{layer}{CONVOLUTION}", TensorSpec((outputs, TAPS * inputs))
        yield f"{layer}.norm.weight", vector(outputs, rank=4)
        inputs = outputs
    projection = TensorSpec((width, config.subsampled_width))
    yield f"{SUBSAMPLING}input_proj_linear.weight", projection
    for index in range(config.layer_count):
        yield from _layer(f"layers.{index}.", config)
    yield "output_proj.weight", TensorSpec((config.output_size, width))
    yield "output_proj.bias", vector(config.output_size)


def _layer(prefix: str, config: AudioConfig) -> Named:
    width, inner, clipped = config.hidden_size, config.mlp_width, config.clipped
    for mlp in ("feed_forward1", "feed_forward2"):
        name = f"{prefix}{mlp}."
        yield from clipped_linear(f"{name}ffw_layer_1", width, inner, clipped=clipped)
        yield from clipped_linear(f"{name}ffw_layer_2", inner, width, clipped=clipped)
        yield f"{name}pre_layer_norm.weight", vector(width)
        yield f"{name}post_layer_norm.weight", vector(width)
    for part in ("q_proj", "k_proj", "v_proj", "post"):
        yield from clipped_linear(f"{prefix}self_attn.{part}", width, width, clipped=clipped)
    yield prefix + QUERY_SCALE, vector(config.head_dim, rank=4)
    yield prefix + RELATIVE_KEYS, TensorSpec((config.heads * config.window, width))
    yield from clipped_linear(f"{prefix}lconv1d.linear_start", width, 2 * width, clipped=clipped)
    yield from clipped_linear(f"{prefix}lconv1d.linear_end", width, width, clipped=clipped)
    for tap in range(config.kernel):
        yield f"{prefix}lconv1d{TAP}{tap}", vector(width)
    for norm in ("lconv1d.pre_layer_norm", "lconv1d.conv_norm"):
        yield f"{prefix}{norm}.weight", vector(width)
    for norm in ("norm_pre_attn", "norm_post_attn", "norm_out"):
        yield f"{prefix}{norm}.weight", vector(width)
