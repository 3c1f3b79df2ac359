"""Sound as the rungs need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from exporter.bundle.reader import Bundle
from exporter.checkpoints.assets.media_tokens import SOUND, MediumSpelling
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.tensors.tower_names import AUDIO, TowerNames
from exporter.contract.audio import AudioContract
from exporter.contract.names import Accelerator, Section
from exporter.plan.audio import audio_contract
from exporter.verify.sounds import asked_sounds, sample_sounds
from exporter.verify.tower_input import AskedFile, TowerInput
from exporter.verify.tower_kind import DescribedTower
from exporter.weights.audio import AudioLayout
from exporter.weights.audio_parameters import audio_parameter_specs
from runtime_py.chat.media import Medium
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.sounds import SoundGraphs

if TYPE_CHECKING:
    from exporter.verify.sides.torch_tower import Source, TorchTower

FRAME_STEPS = 1e-3
"""The logarithm of an energy may be 2e-5 off, where sums over a spectrum are in another order, and a step of
a frame whose logarithms span 10 is 0.04."""

CONVOLVED = 3
"""Copies of what the first convolution makes that transformers has at a time."""


@dataclass(frozen=True)
class SoundKind:
    """A :class:`~exporter.verify.tower_kind.TowerKind`."""

    contract: AudioContract
    medium: ClassVar[Medium] = Medium.AUDIO
    marks: ClassVar[MediumSpelling] = SOUND
    names: ClassVar[TowerNames] = AUDIO
    engine_differs: ClassVar[float] = FRAME_STEPS
    end: ClassVar[Section] = Section.END_OF_AUDIO

    def graphs(self, bundle: Bundle, hardware: Hardware) -> SoundGraphs:
        return SoundGraphs(bundle, self.contract, hardware)

    def inputs(self) -> tuple[TowerInput, ...]:
        return tuple(
            piece for one in sample_sounds(self.contract) for piece in one.pieces(self.contract)
        )

    def asked(self) -> tuple[AskedFile, ...]:
        return tuple(
            AskedFile(one.wav(), one.pieces(self.contract)) for one in asked_sounds(self.contract)
        )

    def described(
        self, target: Checkpoint, text_width: int, accelerator: Accelerator
    ) -> DescribedTower | None:
        """Graphs for a GPU are no others, but for infinite bounds of clips."""
        config = parse_audio(target.config, str(target.folder))
        if config is None:
            return None

        def in_torch(source: Source, for_gpu: bool) -> TorchTower:
            from exporter.verify.sides.torch_tower import audio_tower

            return audio_tower(config, text_width, source)

        return DescribedTower(
            AudioLayout(config, accelerator),
            audio_parameter_specs(config, text_width),
            audio_contract(config, text_width, round(self.contract.seconds)),
            CONVOLVED * self.contract.frames * self.contract.mel_bins * config.channels[0] // 4,
            in_torch,
        )
