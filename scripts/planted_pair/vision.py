"""A vision tower of E2B's and E4B's size for a planted target: shapes, and what a config.json says of it.

Its branches end in norms of weight 0, as the text model's do, so it costs what it costs and a picture changes
no text.
"""

from __future__ import annotations

from typing import Any

from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.tensors.tower_names import PREFIXES, VISION
from exporter.weights.towers import stored_shape
from exporter.weights.vision import VisionLayout
from exporter.weights.vision_parameters import vision_parameter_specs

from .sizes import Shapes

START, END, PLACE = 60, 61, 62
PICTURE_TOKENS = {START: "<|image>", END: "<image|>", PLACE: "<|image|>"}


def tower_config() -> dict[str, Any]:
    """What a target with a tower has in its config.json; what is not said is as in E2B and E4B."""
    return {
        "boi_token_id": START,
        "eoi_token_id": END,
        "image_token_id": PLACE,
        "vision_config": {"model_type": "gemma4_vision", "use_clipped_linears": True},
    }


def tower_shapes(text_width: int) -> Shapes:
    """Tensors of the tower and its adapter."""
    config = parse_vision(tower_config(), "planted")
    assert config is not None
    specs = vision_parameter_specs(config, text_width)
    return {
        PREFIXES[0] + VISION.of(section, name): stored_shape(VisionLayout(), name, spec)
        for section in VISION.sections
        for name, spec in specs[section].items()
    }
