"""Which parameters a vision tower and its adapter have: names and shapes, said without torch.

As ``exporter.weights.parameters`` does for the text model; a test compares it with the modules' own.
"""

from __future__ import annotations

from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Section, TensorSpec
from exporter.weights.tower_parameters import (
    END_EMBEDDING,
    PROJECTION,
    Named,
    clipped_linear,
    vector,
)

POSITION_TABLE = "patch_embedder.position_embedding_table"


def vision_parameter_specs(
    config: VisionConfig, text_width: int
) -> dict[Section, dict[str, TensorSpec]]:
    """Every parameter of the sections for pictures, by the names the graphs use."""
    return {
        Section.VISION_ENCODER: dict(_tower(config)),
        Section.VISION_ADAPTER: {PROJECTION: TensorSpec((text_width, config.hidden_size))},
        Section.END_OF_VISION: {END_EMBEDDING: vector(text_width)},
    }


def _tower(config: VisionConfig) -> Named:
    width, inner = config.hidden_size, config.heads * config.head_dim
    yield "patch_embedder.input_proj.weight", TensorSpec((width, config.patch_width))
    yield POSITION_TABLE, TensorSpec((2 * config.position_count, width))
    for index in range(config.layer_count):
        prefix = f"layers.{index}."
        yield f"{prefix}input_layernorm.weight", vector(width)
        for part in ("q_proj", "k_proj", "v_proj"):
            yield from clipped_linear(
                f"{prefix}self_attn.{part}", width, inner, clipped=config.clipped
            )
        yield from clipped_linear(f"{prefix}self_attn.o_proj", inner, width, clipped=config.clipped)
        for part in ("q_norm", "k_norm"):
            yield f"{prefix}self_attn.{part}.weight", vector(config.head_dim, rank=4)
        yield f"{prefix}post_attention_layernorm.weight", vector(width)
        yield f"{prefix}pre_feedforward_layernorm.weight", vector(width)
        for part in ("gate_proj", "up_proj"):
            yield from clipped_linear(
                f"{prefix}mlp.{part}", width, config.mlp_width, clipped=config.clipped
            )
        yield from clipped_linear(
            f"{prefix}mlp.down_proj", config.mlp_width, width, clipped=config.clipped
        )
        yield f"{prefix}post_feedforward_layernorm.weight", vector(width)
    if config.standardised:
        yield "std_bias", vector(width)
        yield "std_scale", vector(width)
