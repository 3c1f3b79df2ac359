"""An ``audio_config`` and settings of frames in every spelling, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import Gemma4AudioConfig, Gemma4AudioFeatureExtractor

from exporter.checkpoints.audio_architecture import AudioConfig
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.configs.sound import longest_clip
from exporter.errors import ConfigError

E2B = AudioConfig(
    hidden_size=1024,
    layer_count=12,
    heads=8,
    channels=(128, 32),
    kernel=5,
    window=12,
    residual_weight=0.5,
    logit_cap=50.0,
    gradient_clipping=1e10,
    rms_norm_eps=1e-6,
    output_size=1536,
    clipped=True,
)

WRITTEN: dict[str, Any] = Gemma4AudioConfig().to_dict()


def parsed(audio: object) -> AudioConfig | None:
    return parse_audio({"model_type": "gemma4", "audio_config": audio}, "target")


@pytest.mark.parametrize("audio", [WRITTEN, {}, json.loads(json.dumps(WRITTEN))])
def test_every_spelling_is_the_tower_of_e2b(audio: dict[str, Any]) -> None:
    assert parsed(audio) == E2B


@pytest.mark.parametrize("config", [{}, {"audio_config": None}])
def test_a_model_that_does_not_hear_has_no_tower(config: dict[str, Any]) -> None:
    assert parse_audio({"model_type": "gemma4", **config}, "target") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_act": "gelu"}, "hidden_act: expected silu"),
        ({"model_type": "gemma3n_audio"}, "model_type: expected gemma4_audio"),
        ({"conf_reduction_factor": 4}, "conf_reduction_factor: expected no such setting"),
        ({"attention_context_right": 2}, "attention_context_right: expected 0"),
        ({"attention_chunk_size": 16}, "attention_chunk_size: expected one less than"),
        (
            {"attention_context_left": 1},
            "attention_context_left: expected an integer of at least 2",
        ),
        ({"attention_invalid_logits_value": 0.0}, "invalid_logits_value: expected -10000 or less"),
        ({"subsampling_conv_channels": [64, 32]}, "two numbers, the first of which is 128"),
        ({"subsampling_conv_channels": [128]}, "two numbers, the first of which is 128"),
        ({"subsampling_conv_channels": "128,32"}, "two numbers, the first of which is 128"),
        ({"num_attention_heads": 7}, "hidden_size: expected an even multiple"),
        ({"gradient_clipping": float("inf")}, "gradient_clipping: expected a positive number"),
        ({"use_clipped_linears": None}, "use_clipped_linears: expected true or false"),
    ],
)
def test_what_is_not_supported_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refusal:
        parsed({**WRITTEN, **change})
    assert "audio_config." in str(refusal.value)


def test_something_that_is_no_object() -> None:
    with pytest.raises(ConfigError, match="audio_config: expected an object"):
        parsed([1])


EXTRACTOR: dict[str, Any] = json.loads(Gemma4AudioFeatureExtractor().to_json_string())


def longest(folder: Path, **files: dict[str, Any]) -> int:
    """The longest clip of a checkpoint with these files."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return longest_clip(Checkpoint(folder, "target", None, {}, {}))


def test_the_longest_clip_is_the_processors(tmp_path: Path) -> None:
    assert longest(tmp_path) == 30
    assert longest(tmp_path, preprocessor_config=EXTRACTOR) == 30
    processor = {"feature_extractor": EXTRACTOR, "audio_seq_length": 188, "audio_ms_per_token": 40}
    assert longest(tmp_path, processor_config=processor) == 8


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sampling_rate": 8000}, "sampling_rate: expected 16000, as LiteRT-LM has it"),
        ({"feature_size": 80}, "feature_size: expected 128"),
        ({"frame_length": 400}, "frame_length: expected 320"),
        ({"hop_length_ms": 12.5}, "hop_length_ms: expected 10"),
        ({"fft_overdrive": True}, "fft_overdrive: expected False"),
        ({"max_frequency": 7600.0}, "max_frequency: expected 8000"),
        ({"mel_floor": 1e-5}, "mel_floor: expected 0.001"),
        ({"preemphasis": 0.97}, "preemphasis: expected 0"),
        ({"per_bin_mean": [0.0] * 128}, "per_bin_mean: expected None"),
        ({"dither": "some"}, "dither: expected 0"),
        ({"feature_extractor_type": "USM"}, "expected Gemma4AudioFeatureExtractor"),
    ],
)
def test_frames_that_the_engine_does_not_make(
    tmp_path: Path, nested: bool, change: dict[str, Any], said: str
) -> None:
    extractor = {**EXTRACTOR, **change}
    files = (
        {"processor_config": {"feature_extractor": extractor}}
        if nested
        else {"preprocessor_config": extractor}
    )
    with pytest.raises(ConfigError, match=said):
        longest(tmp_path, **files)


def test_clips_of_hours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="audio_seq_length: expected no more than 300 s"):
        longest(tmp_path, processor_config={"audio_seq_length": 10**7})


def test_tokens_of_another_length(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="audio_ms_per_token: expected 40, found 80"):
        longest(tmp_path, processor_config={"audio_ms_per_token": 80})
    with pytest.raises(ConfigError, match="feature_extractor: expected an object"):
        longest(tmp_path, processor_config={"feature_extractor": "USM"})
