"""Our torch towers and adapters with weights of a checkpoint or of a bundle, called on one input."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from exporter.checkpoints.audio_architecture import AudioConfig
from exporter.checkpoints.tensors.tower_names import TowerNames
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Section
from exporter.model.audio.tower import AudioAdapter, AudioTower
from exporter.model.vision.tower import VisionAdapter, VisionTower
from exporter.verify.sides.stored_weights import StoredConstants, find_constant
from exporter.verify.sides.torch_pair import Rows, filled
from exporter.verify.sides.tower_golden import Encoded
from exporter.verify.tower_input import TowerInput
from exporter.weights.matching import WeightSpecs
from runtime_py.litert.towers import Floats

Source = Mapping[Section, Mapping[str, Rows]]
"""A weight for every parameter."""


def tower_from_bundle(
    names: TowerNames, recipe_prefix: str, specs: WeightSpecs, stored: StoredConstants
) -> dict[Section, dict[str, Rows]]:
    """The weights of tower and adapter as the bundle stores them.

    Raises:
        UnreadableWeightError: One is not in the bundle.
    """
    return {
        section: {
            name: find_constant(stored, section, recipe_prefix + name) for name in specs[section]
        }
        for section in names.sections
    }


class TorchTower:
    """A tower and its adapter in float32.

    Args:
        tower: Takes the arrays of a :class:`~exporter.verify.tower_input.TowerInput`.
        adapter: Takes features and, if it is ``masked``, which of them are no padding.
        masked: Whether it is.
    """

    def __init__(self, tower: nn.Module, adapter: nn.Module, *, masked: bool) -> None:
        self.tower, self.adapter, self._masked = tower, adapter, masked

    def both(self, given: TowerInput) -> Encoded:
        """What becomes of a picture or a piece of a clip."""
        features = self.encode(given)
        return Encoded(features, self.adapt(features))

    @torch.no_grad()
    def encode(self, given: TowerInput) -> Floats:
        """Features of what is no padding, ``[n, D]``."""
        found = self.tower(*(torch.from_numpy(array)[None] for array in given.arrays.values()))
        features: Floats = found.features[0, : int(found.mask.sum())].numpy()
        return features

    @torch.no_grad()
    def adapt(self, features: Floats) -> Floats:
        """Embeddings ``[n, H]`` for features ``[n, D]``."""
        given = torch.from_numpy(np.array(features))[None]
        own = (torch.ones(1, len(features), dtype=torch.bool),) if self._masked else ()
        embeddings: Floats = self.adapter(given, *own)[0].numpy()
        return embeddings


def vision_tower(
    config: VisionConfig, text_width: int, source: Source, *, for_gpu: bool
) -> TorchTower:
    """For pictures; ``for_gpu`` if it is to compute as graphs for a GPU do: features have another length."""
    tower, adapter = (partial(kind, for_gpu=for_gpu) for kind in (VisionTower, VisionAdapter))
    return TorchTower(
        filled(tower, (config,), source[Section.VISION_ENCODER]),
        filled(adapter, (config, text_width), source[Section.VISION_ADAPTER]),
        masked=False,
    )


def audio_tower(config: AudioConfig, text_width: int, source: Source) -> TorchTower:
    """For sound."""
    return TorchTower(
        filled(AudioTower, (config,), source[Section.AUDIO_ENCODER]),
        filled(AudioAdapter, (config, text_width), source[Section.AUDIO_ADAPTER]),
        masked=True,
    )
