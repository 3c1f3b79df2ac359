"""Towers of E2B's and E4B's size for a planted target: shapes, and what a config.json says of them.

Branches of the vision tower end in norms of weight 0, as the text model's do. Either tower costs what it
costs, and neither a picture nor a sound changes any text: the text model's attention is silenced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.tensors.tower_names import PREFIXES
from exporter.contract.names import Section, TensorSpec
from exporter.weights.audio import AudioLayout
from exporter.weights.audio_parameters import audio_parameter_specs
from exporter.weights.towers import Layout, stored_shape
from exporter.weights.vision import VisionLayout
from exporter.weights.vision_parameters import vision_parameter_specs

from .sizes import Shapes

PICTURE, SOUND = 62, 66
TOKENS = {
    60: "<|image>", 61: "<image|>", PICTURE: "<|image|>",
    64: "<|audio>", 65: "<audio|>", SOUND: "<|audio|>",
}  # fmt: skip
"""Begin, end and place of a picture, and of a sound."""

VISION: Mapping[str, Any] = {
    "boi_token_id": 60,
    "eoi_token_id": 61,
    "image_token_id": PICTURE,
    "vision_config": {"model_type": "gemma4_vision", "use_clipped_linears": True},
}
AUDIO: Mapping[str, Any] = {
    "boa_token_id": 64,
    "eoa_token_index": 65,
    "audio_token_id": SOUND,
    "audio_config": {"model_type": "gemma4_audio"},
}
"""What a target with a tower has in its config.json; what is not said is as in E2B and E4B."""


@dataclass(frozen=True)
class PlantedTowers:
    """Which towers a target has."""

    vision: bool
    audio: bool

    def config(self) -> dict[str, Any]:
        """What they add to the target's config.json."""
        return {**(VISION if self.vision else {}), **(AUDIO if self.audio else {})}

    def shapes(self, text_width: int) -> Shapes:
        """Their tensors, adapters included."""
        found: Shapes = {}
        if self.vision:
            config = parse_vision(VISION, "planted")
            assert config is not None
            found |= _shapes(VisionLayout(), vision_parameter_specs(config, text_width))
        if self.audio:
            heard = parse_audio(AUDIO, "planted")
            assert heard is not None
            found |= _shapes(AudioLayout(heard), audio_parameter_specs(heard, text_width))
        return found


def _shapes(layout: Layout, specs: Mapping[Section, Mapping[str, TensorSpec]]) -> Shapes:
    return {
        PREFIXES[0] + layout.names.of(section, name): stored_shape(layout, name, spec)
        for section in layout.names.sections
        for name, spec in specs[section].items()
    }
