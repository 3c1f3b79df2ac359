"""Our torch tower and adapter with weights of a checkpoint or of a bundle, called on one picture."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from exporter.checkpoints.tensors.tower_names import VISION
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Section
from exporter.model.vision.tower import VisionAdapter, VisionTower
from exporter.verify.sides.picture_golden import Seen
from exporter.verify.sides.stored_weights import StoredConstants
from exporter.verify.sides.torch_pair import Rows, filled
from exporter.weights.matching import WeightSpecs
from exporter.weights.vision import VisionLayout
from runtime_py.litert.pictures import PicturePatches
from runtime_py.litert.towers import Floats


def tower_from_bundle(
    specs: WeightSpecs, stored: StoredConstants
) -> dict[Section, dict[str, Rows]]:
    """The weights of tower and adapter as the bundle stores them."""
    return {
        section: {
            name: stored[section][VisionLayout.recipe_prefix + name] for name in specs[section]
        }
        for section in VISION.sections
    }


class TorchTower:
    """A tower and its adapter in float32.

    Args:
        config: The tower's shape.
        text_width: H.
        source: A weight for every parameter.
        for_gpu: Whether it is to compute as graphs for a GPU do, whose features are of another length.
    """

    def __init__(
        self,
        config: VisionConfig,
        text_width: int,
        source: Mapping[Section, Mapping[str, Rows]],
        *,
        for_gpu: bool = False,
    ) -> None:
        tower, adapter = (
            partial(VisionTower, for_gpu=for_gpu),
            partial(VisionAdapter, for_gpu=for_gpu),
        )
        self.tower = filled(tower, (config,), source[Section.VISION_ENCODER])
        self.adapter = filled(adapter, (config, text_width), source[Section.VISION_ADAPTER])

    def see(self, picture: PicturePatches) -> Seen:
        """What becomes of a picture, which may be padded."""
        features = self.encode(picture)
        return Seen(features, self.adapt(features))

    @torch.no_grad()
    def encode(self, picture: PicturePatches) -> Floats:
        """Features of the picture's own soft tokens, ``[n, D]``."""
        images, positions = torch.from_numpy(picture.colours), torch.from_numpy(picture.places)
        found = self.tower(images[None], positions[None])
        features: Floats = found.features[0, : int(found.mask.sum())].numpy()
        return features

    @torch.no_grad()
    def adapt(self, features: Floats) -> Floats:
        """Embeddings ``[n, H]`` for features ``[n, D]``."""
        embeddings: Floats = self.adapter(torch.from_numpy(np.array(features))[None])[0].numpy()
        return embeddings
