"""What the graphs for sound depend on; see :mod:`exporter.lowering.tower`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from exporter.checkpoints.audio_architecture import AudioConfig
from exporter.contract.audio import AudioContract
from exporter.lowering.tower import TowerRequest


@dataclass(frozen=True)
class AudioRequest(TowerRequest):
    """What the graphs for sound depend on."""

    config: AudioConfig
    contract: AudioContract
    kind: ClassVar[str] = "audio"
    maker: ClassVar[str] = "exporter.lowering.audio_signatures"
