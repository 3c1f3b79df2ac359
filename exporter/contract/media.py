"""What a bundle takes beside text: pictures, sound, both or neither."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.contract.audio import AudioContract
from exporter.contract.names import Section, SignatureSpec
from exporter.contract.vision import VisionContract


@dataclass(frozen=True)
class Media:
    """What the graphs for pictures and sound take; None where there are none."""

    pictures: VisionContract | None = None
    sound: AudioContract | None = None

    def section_signatures(self) -> dict[Section, dict[str, SignatureSpec]]:
        """Every section for pictures and sound with the signatures it must hold."""
        pictures = {} if self.pictures is None else self.pictures.section_signatures()
        return pictures if self.sound is None else {**pictures, **self.sound.section_signatures()}


TEXT_ONLY = Media()
