"""Other models are refused by their own name, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.configs.families import OTHER_FAMILIES, SUPPORTED
from exporter.errors import ConfigError
from tests.checkpoints.written_configs import drafter_json, e2b_json

NAMES = {
    "gemma4_unified": "Gemma 4 12B",
    "gemma4_unified_assistant": "the drafter of Gemma 4 12B",
    "diffusion_gemma": "DiffusionGemma",
    "embedding_gemma2": "EmbeddingGemma 2",
    "gemma3": "Gemma 3",
    "gemma3_text": "Gemma 3 (its text model) or EmbeddingGemma",
    "gemma3n": "Gemma 3n",
}


@pytest.mark.parametrize("parse", [parse_target, parse_drafter])
@pytest.mark.parametrize("model_type", NAMES)
def test_other_families(model_type: str, parse: Any) -> None:
    """As target or as drafter, with a config that transformers makes of them."""
    config = CONFIG_MAPPING[model_type]().to_dict()
    with pytest.raises(ConfigError) as raised:
        parse(config, "here")
    assert str(raised.value) == f"here: this is {NAMES[model_type]} ({model_type}); {SUPPORTED}"


def test_families_are_models_of_transformers() -> None:
    """No name is misspelt."""
    assert set(OTHER_FAMILIES) <= set(CONFIG_MAPPING)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"enable_moe_block": True}, "mixture-of-experts layers, as 26B-A4B is"),
        ({"attention_k_eq_v": True}, "layers use keys as values, as 31B does"),
        ({"hidden_size_per_layer_input": 0}, "without per-layer embeddings"),
        ({"model_type": "gemma4_unified_text"}, "text_config: this is Gemma 4 12B"),
    ],
)
def test_larger_models_of_the_same_type(change: dict[str, Any], said: str) -> None:
    """26B-A4B and 31B have E2B's ``model_type``; nothing else that is odd about them is listed."""
    config = e2b_json()
    config["text_config"] |= {"hidden_size": None, "head_dim": None} | change
    with pytest.raises(ConfigError) as raised:
        parse_target(config, "here")
    message = str(raised.value)
    assert said in message
    assert message.endswith(SUPPORTED)
    assert "\n" not in message


@pytest.mark.parametrize("model_type", ["llama", None, 4, ["gemma4"]])
def test_anything_else(model_type: object) -> None:
    for parse in (parse_target, parse_drafter):
        with pytest.raises(ConfigError, match="here: this is a model of type "):
            parse({"model_type": model_type}, "here")


def test_swapped_checkpoints() -> None:
    """The likeliest slip: each message says which is which."""
    with pytest.raises(ConfigError, match="target first and its -assistant checkpoint second"):
        parse_target(drafter_json(1536, 1), "here")
    with pytest.raises(ConfigError, match="name ends in -assistant"):
        parse_drafter(e2b_json(), "here")
    with pytest.raises(ConfigError, match="this is a target"):
        parse_drafter(e2b_json()["text_config"], "here")
