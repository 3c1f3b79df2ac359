"""Pictures as the rungs need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from exporter.bundle.reader import Bundle
from exporter.checkpoints.assets.media_tokens import PICTURE, MediumSpelling
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.tensors.tower_names import VISION, TowerNames
from exporter.contract.names import Accelerator, Section
from exporter.contract.vision import VisionContract
from exporter.plan.vision import vision_contract
from exporter.verify.pictures import png, sample_pictures, unresized_pictures
from exporter.verify.tower_input import AskedFile, TowerInput
from exporter.verify.tower_kind import DescribedTower
from exporter.weights.vision import VisionLayout
from exporter.weights.vision_parameters import vision_parameter_specs
from runtime_py.chat.media import Medium
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.pictures import PictureGraphs

if TYPE_CHECKING:
    from exporter.verify.sides.torch_tower import Source, TorchTower

TORCH_SCORES = 3
"""Copies of the scores of all heads that transformers' attention has at a time."""


@dataclass(frozen=True)
class PictureKind:
    """A :class:`~exporter.verify.tower_kind.TowerKind`."""

    contract: VisionContract
    medium: ClassVar[Medium] = Medium.IMAGE
    marks: ClassVar[MediumSpelling] = PICTURE
    names: ClassVar[TowerNames] = VISION
    engine_differs: ClassVar[float] = 0.0
    end: ClassVar[Section] = Section.END_OF_VISION

    def graphs(self, bundle: Bundle, hardware: Hardware) -> PictureGraphs:
        return PictureGraphs(bundle, self.contract, hardware)

    def inputs(self) -> tuple[TowerInput, ...]:
        return tuple(one.tower_input(self.contract) for one in sample_pictures(self.contract))

    def asked(self) -> tuple[AskedFile, ...]:
        """The engine gives each the smallest signature that takes it."""
        return tuple(
            AskedFile(png(one.pixels), (one.fitted(self.contract).tower_input(self.contract),))
            for one in unresized_pictures(self.contract)
        )

    def described(
        self, target: Checkpoint, text_width: int, accelerator: Accelerator
    ) -> DescribedTower | None:
        config = parse_vision(target.config, str(target.folder))
        if config is None:
            return None

        def in_torch(source: Source, for_gpu: bool) -> TorchTower:
            from exporter.verify.sides.torch_tower import vision_tower

            return vision_tower(config, text_width, source, for_gpu=for_gpu)

        return DescribedTower(
            VisionLayout(accelerator),
            vision_parameter_specs(config, text_width),
            vision_contract(config, text_width, self.contract.image_tokens),
            TORCH_SCORES * config.heads * self.contract.max_patches**2,
            in_torch,
        )
