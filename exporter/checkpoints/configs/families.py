"""Which model a ``config.json`` is of, as far as that decides whether it can be exported.

Models are told apart by name. Whether the shape of a supported one is supported, too, is found when it is
parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.errors import ConfigError

TARGET_TYPES = ("gemma4", "gemma4_text")
DRAFTER_TYPE = "gemma4_assistant"
TEXT_TYPE = "gemma4_text"

SUPPORTED = "Gemma 4 E2B, E4B and their fine-tunes can be exported, with their -assistant drafters"

OTHER_FAMILIES = {
    "gemma4_unified": "Gemma 4 12B",
    "gemma4_unified_text": "Gemma 4 12B (its text model)",
    "gemma4_unified_assistant": "the drafter of Gemma 4 12B",
    "gemma4_vision": "a vision tower of Gemma 4",
    "gemma4_audio": "an audio tower of Gemma 4",
    "diffusion_gemma": "DiffusionGemma",
    "diffusion_gemma_text": "DiffusionGemma (its text model)",
    "embedding_gemma2": "EmbeddingGemma 2",
    "embedding_gemma2_text": "EmbeddingGemma 2 (its text model)",
    "gemma3n": "Gemma 3n",
    "gemma3n_text": "Gemma 3n (its text model)",
    "gemma3": "Gemma 3",
    "gemma3_text": "Gemma 3 (its text model) or EmbeddingGemma",
    "gemma2": "Gemma 2",
    "gemma": "Gemma 1",
    "recurrent_gemma": "RecurrentGemma",
    "vaultgemma": "VaultGemma",
    "t5gemma": "T5Gemma",
    "t5gemma2": "T5Gemma 2",
    "paligemma": "PaliGemma",
    "shieldgemma2": "ShieldGemma 2",
}
"""What messages call other models, by the ``model_type`` that transformers gives them."""


def require_target(config: Mapping[str, Any], where: str) -> None:
    """Check that a config is of a Gemma 4 target.

    Raises:
        ConfigError: Saying which model it is of instead.
    """
    model_type = config.get("model_type")
    if model_type in TARGET_TYPES:
        return
    if model_type == DRAFTER_TYPE:
        raise ConfigError(
            f"{where}: this is a drafter (model_type {DRAFTER_TYPE}), and stands where the target is "
            "expected; give the target first and its -assistant checkpoint second"
        )
    raise _refusal(model_type, where)


def require_drafter(config: Mapping[str, Any], where: str) -> None:
    """Check that a config is of a Gemma 4 drafter.

    Raises:
        ConfigError: Saying which model it is of instead.
    """
    model_type = config.get("model_type")
    if model_type == DRAFTER_TYPE:
        return
    if model_type in TARGET_TYPES:
        raise ConfigError(
            f"{where}: this is a target (model_type {model_type}), and stands where the drafter is "
            "expected; drafters are the checkpoints whose name ends in -assistant"
        )
    raise _refusal(model_type, where)


def require_small_text(text: Mapping[str, Any], where: str) -> None:
    """Check that the text model is not one of Gemma 4's larger ones.

    Raises:
        ConfigError: Saying which kind it is.
    """
    if text.get("model_type", TEXT_TYPE) != TEXT_TYPE:
        raise _refusal(text["model_type"], f"{where}: text_config")
    if text.get("enable_moe_block") is True:
        found = "a Gemma 4 with mixture-of-experts layers, as 26B-A4B is"
    elif text.get("attention_k_eq_v") is True:
        found = "a Gemma 4 whose layers use keys as values, as 31B does"
    else:
        return
    raise ConfigError(f"{where}: this is {found}; {SUPPORTED}")


def require_per_layer_embeddings(text: Mapping[str, Any], where: str) -> None:
    """Check that a target has per-layer embeddings.

    Raises:
        ConfigError: It has none.
    """
    if text.get("hidden_size_per_layer_input") == 0:
        raise ConfigError(
            f"{where}: this is a Gemma 4 without per-layer embeddings (hidden_size_per_layer_input is "
            f"0), as 31B is; {SUPPORTED}"
        )


def _refusal(model_type: object, where: str) -> ConfigError:
    name = OTHER_FAMILIES.get(model_type) if isinstance(model_type, str) else None
    found = f"a model of type {model_type!r}" if name is None else f"{name} ({model_type})"
    return ConfigError(f"{where}: this is {found}; {SUPPORTED}")
