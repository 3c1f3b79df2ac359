"""Our tower with a checkpoint's weights in it, run eagerly in float32.

Weights come the way ``bind`` gets them: names, shapes and layouts are under test too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Section, TensorSpec
from exporter.model.vision.tower import VisionAdapter, VisionTower
from exporter.weights.matching import Weight, Weights, find_weights
from exporter.weights.tower_parameters import END_EMBEDDING
from exporter.weights.towers import find_tower_weights
from exporter.weights.vision import VisionLayout
from exporter.weights.vision_parameters import vision_parameter_specs

END_TOKEN = 61


@dataclass(frozen=True)
class EagerVision:
    """A tower, ready to run."""

    config: VisionConfig
    tower: VisionTower
    adapter: VisionAdapter
    gpu_tower: VisionTower
    gpu_adapter: VisionAdapter
    end: NDArray[np.float32]  # [1, 1, H]


@contextmanager
def token_table(checkpoint: Checkpoint) -> Iterator[Weight]:
    """A checkpoint's table of tokens, while its files are open."""
    text = parse_target(checkpoint.config, str(checkpoint.folder)).text
    specs = {Section.EMBEDDER: {"weight": TensorSpec((text.vocab_size, text.hidden_size))}}
    with TensorReader() as reader:
        yield find_weights(specs, checkpoint, None, reader)[Section.EMBEDDER]["weight"]


@contextmanager
def vision_weights(folder: Path) -> Iterator[Weights]:
    """The weights of a checkpoint's tower, while its files are open."""
    checkpoint = open_checkpoint(folder)
    config = parse_vision(checkpoint.config, str(folder))
    assert config is not None
    with token_table(checkpoint) as table:
        specs = vision_parameter_specs(config, table.row_length)
        yield find_tower_weights(VisionLayout(), specs, checkpoint, table, END_TOKEN)


def load_vision(folder: Path) -> EagerVision:
    """A checkpoint's tower."""
    config = parse_vision(open_checkpoint(folder).config, str(folder))
    assert config is not None
    with vision_weights(folder) as found:
        end = found[Section.END_OF_VISION][END_EMBEDDING]
        towers = [VisionTower(config, for_gpu=on_gpu).eval() for on_gpu in (False, True)]
        adapters = [
            VisionAdapter(config, end.row_length, for_gpu=on_gpu).eval() for on_gpu in (False, True)
        ]
        for tower, adapter in zip(towers, adapters, strict=True):
            fill(tower, found[Section.VISION_ENCODER])
            fill(adapter, found[Section.VISION_ADAPTER])
        pairs = (towers[0], adapters[0], towers[1], adapters[1])
        return EagerVision(config, *pairs, stored_values(end))


def fill(module: nn.Module, weights: Mapping[str, Weight]) -> None:
    """Give a module its weights."""
    values = {name: torch.from_numpy(stored_values(weight)) for name, weight in weights.items()}
    module.load_state_dict(values)


def stored_values(weight: Weight) -> NDArray[np.float32]:
    """A weight as float32, also where it comes ready."""
    if weight.ready is None:
        values = np.concatenate(list(weight.blocks()))
    else:
        values = np.frombuffer(b"".join(b.data for b in weight.ready.blocks()), np.float32)
    return values.reshape(weight.spec.shape).copy()
