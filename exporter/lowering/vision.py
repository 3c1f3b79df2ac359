"""What the graphs for pictures depend on; see :mod:`exporter.lowering.tower`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Accelerator
from exporter.contract.vision import VisionContract
from exporter.lowering.tower import TowerRequest
from exporter.lowering.units import Unit


@dataclass(frozen=True)
class VisionRequest(TowerRequest):
    """What the graphs for pictures depend on."""

    config: VisionConfig
    contract: VisionContract
    accelerator: Accelerator = Accelerator.CPU
    kind: ClassVar[str] = "vision"
    maker: ClassVar[str] = "exporter.lowering.vision_signatures"

    def dependencies(self, unit: Unit) -> dict[str, Any]:
        return {**super().dependencies(unit), "accelerator": self.accelerator.value}
