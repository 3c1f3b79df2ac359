"""Which checkpoint tensor a parameter of a tower or its adapter is.

The graphs use the parameter names of ``exporter.model.vision`` and ``exporter.model.audio``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from exporter.contract.names import Section

PREFIXES = ("model.", "", "model.language_model.", "language_model.model.")
"""What may come before a tower: of today's class, of a tower that was saved beside a bare text model, and of
earlier classes."""


@dataclass(frozen=True)
class TowerNames:
    """How checkpoints name the tensors of one kind of tower."""

    kind: str
    """What the tower is for, in a word."""
    encoder: Section
    adapter: Section
    tower: str
    embedder: str
    first: str
    """A parameter that every such tower has."""
    stack: str = ""
    """What comes before the layers."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Patterns of parameters that have another name in checkpoints, and that name."""

    @property
    def sections(self) -> tuple[Section, Section]:
        return self.encoder, self.adapter

    def prefix(self, tensors: Container[str]) -> str | None:
        """What comes before the tower's names; None if there is no tower."""
        first = self.of(self.encoder, self.first)
        return next((prefix for prefix in PREFIXES if prefix + first in tensors), None)

    def of(self, section: Section, parameter: str) -> str:
        """A parameter's name in the checkpoint, but for the prefix."""
        if section is self.adapter:
            return self.embedder + parameter
        for pattern, other in self.others.items():
            parameter = re.sub(pattern, other, parameter)
        return self.tower + (self.stack if parameter.startswith("layers.") else "") + parameter


VISION = TowerNames(
    "vision",
    Section.VISION_ENCODER,
    Section.VISION_ADAPTER,
    "vision_tower.",
    "embed_vision.",
    first="patch_embedder.input_proj.weight",
    stack="encoder.",
)

AUDIO = TowerNames(
    "audio",
    Section.AUDIO_ENCODER,
    Section.AUDIO_ADAPTER,
    "audio_tower.",
    "embed_audio.",
    first="subsample_conv_projection.input_proj_linear.weight",
    others={
        r"\.query_scale$": ".per_dim_scale",
        r"\.relative_keys$": ".relative_k_proj.weight",
        r"\.depthwise_conv1d\.taps\.\d+$": ".depthwise_conv1d.weight",
    },
)

BY_SECTION = {section: names for names in (VISION, AUDIO) for section in names.sections}
