"""Our audio tower with a checkpoint's weights in it, run eagerly in float32.

Weights come the way ``bind`` gets them: names, shapes and layouts are under test too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.audio_architecture import AudioConfig
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.audio import parse_audio
from exporter.contract.names import Section
from exporter.model.audio.tower import AudioAdapter, AudioTower
from exporter.weights.audio import AudioLayout
from exporter.weights.audio_parameters import audio_parameter_specs
from exporter.weights.matching import Weights
from exporter.weights.tower_parameters import END_EMBEDDING
from exporter.weights.towers import find_tower_weights
from tests.vision.eager import fill, stored_values, token_table

END_TOKEN = 65


@dataclass(frozen=True)
class EagerAudio:
    """A tower, ready to run."""

    config: AudioConfig
    tower: AudioTower
    adapter: AudioAdapter
    end: NDArray[np.float32]  # [1, 1, H]


@contextmanager
def audio_weights(folder: Path) -> Iterator[Weights]:
    """The weights of a checkpoint's tower, while its files are open."""
    checkpoint = open_checkpoint(folder)
    config = parse_audio(checkpoint.config, str(folder))
    assert config is not None
    with token_table(checkpoint) as table:
        specs = audio_parameter_specs(config, table.row_length)
        yield find_tower_weights(AudioLayout(config), specs, checkpoint, table, END_TOKEN)


def load_audio(folder: Path) -> EagerAudio:
    """A checkpoint's tower."""
    config = parse_audio(open_checkpoint(folder).config, str(folder))
    assert config is not None
    with audio_weights(folder) as found:
        end = found[Section.END_OF_AUDIO][END_EMBEDDING]
        tower = AudioTower(config).eval()
        adapter = AudioAdapter(config, end.row_length).eval()
        fill(tower, found[Section.AUDIO_ENCODER])
        fill(adapter, found[Section.AUDIO_ADAPTER])
        return EagerAudio(config, tower, adapter, stored_values(end))
