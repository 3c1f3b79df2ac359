"""What is lowered of a vision tower: the signatures of its encoder and adapter.

A graph depends on the tower and on the number of its soft tokens, so E2B and E4B share the encoder's, and
another choice of ``--image-tokens`` lowers only what is new.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Accelerator, Section, SignatureSpec
from exporter.contract.vision import VisionContract
from exporter.lowering.units import Unit, in_order, plain

LOWERED = (Section.VISION_ENCODER, Section.VISION_ADAPTER)
"""Sections whose graphs torch makes; the end of a picture is a constant."""


@dataclass(frozen=True)
class VisionRequest:
    """What the graphs for pictures depend on."""

    config: VisionConfig
    contract: VisionContract
    accelerator: Accelerator = Accelerator.CPU
    maker: ClassVar[str] = "exporter.lowering.vision_signatures"

    def units(self) -> list[Unit]:
        """Every signature that is lowered, section by section."""
        signatures = self.contract.section_signatures()
        return [Unit(section, name) for section in LOWERED for name in signatures[section]]

    def spec(self, unit: Unit) -> SignatureSpec:
        """What crosses the boundary of one of the graphs."""
        return self.contract.section_signatures()[unit.section][unit.signature]

    def dependencies(self, unit: Unit) -> dict[str, Any]:
        """All that the graph of one signature depends on but code and tools, as JSON can hold it."""
        signature = in_order(self.spec(unit))
        found = {
            "unit": unit.file_name,
            "vision": asdict(self.config),
            "accelerator": self.accelerator,
            "signature": signature,
        }
        return {name: plain(value) for name, value in found.items()}
