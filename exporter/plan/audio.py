"""What an export will make of a checkpoint's audio tower: everything is looked at here, nothing written.

A tower that a checkpoint has becomes part of the bundle, unless the user asked otherwise or something is
missing; what is left out is said in one sentence.
"""

from __future__ import annotations

from exporter.checkpoints.assets.assets import Assets
from exporter.checkpoints.assets.media_tokens import SOUND
from exporter.checkpoints.audio_architecture import (
    FRAMES_PER_SECOND,
    FRAMES_PER_TOKEN,
    MEL_BINS,
    AudioConfig,
)
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.configs.sound import longest_clip
from exporter.checkpoints.tensors.tower_names import AUDIO
from exporter.contract.audio import AudioContract
from exporter.lowering.audio import AudioRequest
from exporter.options import ExportOptions
from exporter.plan.towers import Candidate, TowerPlan
from exporter.weights.audio import AudioLayout
from exporter.weights.audio_parameters import audio_parameter_specs
from exporter.weights.matching import Weight
from exporter.weights.towers import find_tower_weights

AudioPlan = TowerPlan[AudioRequest]


def plan_audio(
    target: Checkpoint,
    assets: Assets,
    embedding: Weight,
    options: ExportOptions,
) -> tuple[AudioPlan | None, tuple[str, ...]]:
    """Decide about sound: what will be made, and what to tell of it. None if the bundle will take none.

    Args:
        target: The checkpoint.
        assets: Its text side.
        embedding: Its token table.
        options: What the user chose.

    Raises:
        ConfigError: The tower is of a kind that cannot be exported, the checkpoint's clips are turned into
            frames in a way that the engine cannot be told, or sound was asked for and there can be none.
        CheckpointError: Listing tensors of the tower that are missing or mis-shaped.
    """
    config = parse_audio(target.config, str(target.folder)) if options.audio else None
    tokens = assets.sound_tokens
    candidate = Candidate(target, AUDIO, SOUND, tokens, options.audio, config is not None)
    if (why := candidate.left_out(assets, options.format)) is not None:
        asked = None if options.audio_seconds is None else "--audio-seconds"
        return None, candidate.told(why, asked)
    assert config is not None
    assert tokens is not None
    longest = longest_clip(target)  # which also checks how sound becomes frames
    seconds = options.audio_seconds or longest
    contract = audio_contract(config, embedding.row_length, seconds)
    specs = audio_parameter_specs(config, contract.hidden_size)
    layout = AudioLayout(config, options.accelerator)
    weights = find_tower_weights(layout, specs, target, embedding, tokens.end_id)
    return TowerPlan(AudioRequest(config, contract), specs, weights), ()


def audio_contract(config: AudioConfig, hidden_size: int, seconds: int) -> AudioContract:
    """Every shape that crosses the boundary of the graphs for sound."""
    return AudioContract(
        seconds * FRAMES_PER_SECOND,
        MEL_BINS,
        FRAMES_PER_TOKEN,
        FRAMES_PER_SECOND,
        config.output_size,
        hidden_size,
    )
