"""Which checkpoint tensor a parameter of the vision tower or its adapter is.

The graphs use the parameter names of ``exporter.model.vision``.
"""

from __future__ import annotations

from collections.abc import Container

from exporter.contract.names import Section

TOWER, ADAPTER = "vision_tower.", "embed_vision."

PREFIXES = ("model.", "", "model.language_model.", "language_model.model.")
"""What may come before a tower: of today's class, of a tower that was saved beside a bare text model, and of
earlier classes."""

FIRST_TENSOR = f"{TOWER}patch_embedder.input_proj.weight"

SECTIONS = (Section.VISION_ENCODER, Section.VISION_ADAPTER)


def tower_prefix(tensors: Container[str]) -> str | None:
    """What comes before the tower's names; None if there is no tower."""
    return next((prefix for prefix in PREFIXES if prefix + FIRST_TENSOR in tensors), None)


def vision_name(section: Section, parameter: str) -> str:
    """A parameter's name in the checkpoint, but for the prefix."""
    if section is Section.VISION_ADAPTER:
        return ADAPTER + parameter
    return TOWER + ("encoder." if parameter.startswith("layers.") else "") + parameter
