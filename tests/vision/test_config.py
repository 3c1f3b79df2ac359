"""A ``vision_config`` in every spelling, and what is refused of it."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import Gemma4VisionConfig

from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.errors import ConfigError

E2B = VisionConfig(
    hidden_size=768,
    layer_count=16,
    heads=12,
    head_dim=64,
    mlp_width=3072,
    rms_norm_eps=1e-6,
    rope_theta=100.0,
    patch_size=16,
    pooling=3,
    position_count=10_240,
    clipped=True,
    standardised=False,
)

GOOGLES: dict[str, Any] = {
    "_name_or_path": "",
    "architectures": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "chunk_size_feed_forward": 0,
    "default_output_length": 280,
    "dtype": "bfloat16",
    "global_head_dim": 64,
    "head_dim": 64,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "max_position_embeddings": 131072,
    "model_type": "gemma4_vision",
    "num_attention_heads": 12,
    "num_hidden_layers": 16,
    "num_key_value_heads": 12,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "position_embedding_size": 10240,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"},
    "standardize": False,
    "use_clipped_linears": True,
}
"""As the files of E2B and E4B spell it."""


def parsed(vision: object) -> VisionConfig | None:
    return parse_vision({"model_type": "gemma4", "vision_config": vision}, "target")


@pytest.mark.parametrize(
    "vision",
    [
        GOOGLES,
        Gemma4VisionConfig(use_clipped_linears=True).to_dict(),
        {"use_clipped_linears": True},
        {**GOOGLES, "rope_parameters": None},
        {
            **GOOGLES,
            "pad_token_id": 0,
            "tie_word_embeddings": False,
            "attn_implementation": "eager",
        },
        {**GOOGLES, "rope_parameters": {"rope_theta": 100.0}},
    ],
)
def test_every_spelling_is_the_tower_of_e2b(vision: dict[str, Any]) -> None:
    assert parsed(vision) == E2B


@pytest.mark.parametrize("vision", [None, "absent"])
def test_a_model_of_text_has_no_tower(vision: str | None) -> None:
    config = {"model_type": "gemma4", **({} if vision == "absent" else {"vision_config": vision})}
    assert parse_vision(config, "target") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_key_value_heads": 4}, "num_key_value_heads: expected as many as"),
        ({"hidden_activation": "silu"}, "hidden_activation: expected gelu_pytorch_tanh"),
        ({"attention_bias": True}, "attention biases are not exported"),
        ({"model_type": "siglip_vision_model"}, "model_type: expected gemma4_vision"),
        ({"window_size": 7}, "window_size: expected no such setting"),
        ({"head_dim": 66}, "head_dim: expected a multiple of 4"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type: expected axial or default"),
        ({"rope_parameters": {"factor": 2.0}}, "factor: expected no such setting"),
        ({"patch_size": 0}, "patch_size: expected an integer of at least 1"),
        ({"use_clipped_linears": "yes"}, "use_clipped_linears: expected true or false"),
    ],
)
def test_what_is_not_supported_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refusal:
        parsed({**GOOGLES, **change})
    assert "vision_config." in str(refusal.value)


def test_all_offences_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        parsed({**GOOGLES, "patch_size": -1, "rope_parameters": {"rope_type": "yarn"}})
    assert "patch_size" in str(refusal.value)
    assert "rope_type" in str(refusal.value)


def test_something_that_is_no_object() -> None:
    with pytest.raises(ConfigError, match="vision_config: expected an object"):
        parsed("siglip")
