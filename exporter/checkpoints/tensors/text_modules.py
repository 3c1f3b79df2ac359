"""Names of modules: which of them belong to the text model, and what they are called within it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODEL_PREFIXES = ("model.language_model.", "language_model.model.", "language_model.", "model.")
"""What may come before a module of the text model: of today's multimodal class, of earlier ones, and of
the text-only class and the assistant. The longest that fits is taken off."""

TOWERS = (
    "vision_tower.",
    "audio_tower.",
    "embed_vision.",
    "embed_audio.",
    "multi_modal_projector.",
)
"""Modules of the other modalities, which are not exported."""


def text_module(module: str) -> str:
    """A module's name within the text model, whatever class it was saved from."""
    for prefix in MODEL_PREFIXES:
        if module.startswith(prefix):
            return module.removeprefix(prefix)
    return module


def class_prefix(config: Mapping[str, Any]) -> str:
    """The prefix that today's class for a checkpoint's ``config.json`` gives to modules of the text model."""
    return "model.language_model." if config.get("model_type") == "gemma4" else "model."


def is_tower(module: str) -> bool:
    """Whether a module belongs to another modality than text."""
    return text_module(module).startswith(TOWERS)
