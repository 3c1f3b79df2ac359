"""What can be wrong with a bundle that sees; :mod:`tests.faulty_towers` makes such bundles."""

from __future__ import annotations

import enum
from dataclasses import replace

import torch
from torch import Tensor

from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Section
from exporter.lowering import vision_signatures
from exporter.model.clipped_linear import ClippedLinear
from exporter.model.vision import layers, tower
from exporter.model.vision.layers import Patches
from exporter.model.vision.places import Places
from exporter.model.vision.tower import Features, VisionTower
from tests.faulty_towers import Replaced, SectionFault, TowerWeights, misscaled, next_row

SCALED = "layers.1.mlp.up_proj.linear.weight"
CLIP = "layers.1.self_attn.v_proj"


class SeeingPatches(Patches):
    """Hides nothing."""

    @staticmethod
    def at(places: Places, config: VisionConfig) -> Patches:
        found = Patches.at(places, config)
        return replace(found, hidden=found.hidden * 0.0)


class SwappedTower(VisionTower):
    """Takes y for x."""

    def forward(self, images: Tensor, positions: Tensor) -> Features:
        return super().forward(images, torch.cat([positions[:, :, 1:], positions[:, :, :1]], -1))


class UnclippedLinear(ClippedLinear):
    """Has bounds so far apart that they hold nothing."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.minimum(torch.maximum(x, self.input_min * 1e6), self.input_max * 1e6)
        x = self.linear(x)
        return torch.minimum(torch.maximum(x, self.output_min * 1e6), self.output_max * 1e6)


def _swapped_bounds(weights: TowerWeights) -> TowerWeights:
    spoilt = dict(weights)
    for bound in ("min", "max"):
        inner, outer = f"{CLIP}.input_{bound}", f"{CLIP}.output_{bound}"
        first, second = weights[inner], weights[outer]
        spoilt[inner] = replace(first, ready=second.ready)
        spoilt[outer] = replace(second, ready=first.ready)
    return spoilt


def _graph(*replaced: object) -> SectionFault:
    return SectionFault(Section.VISION_ENCODER, Replaced(*replaced))  # type: ignore[arg-type]


class PictureFault(enum.Enum):
    """What is wrong with a bundle that sees."""

    PADDING = _graph(tower, "Patches", SeeingPatches)
    """Padding is attended to."""
    SWAPPED = _graph(vision_signatures, "VisionTower", SwappedTower)
    """x and y are swapped."""
    UNCLIPPED = _graph(layers, "ClippedLinear", UnclippedLinear)
    """Nothing is clipped."""
    BOUNDS = SectionFault(Section.VISION_ENCODER, weights=_swapped_bounds)
    """The bounds of a clip's input stand at its output, and the other way round."""
    END = SectionFault(Section.END_OF_VISION, weights=next_row)
    """The end of a picture is another token's embedding."""
    SCALE = SectionFault(Section.VISION_ENCODER, weights=misscaled(SCALED))
    """One row of one weight has a wrong scale."""
