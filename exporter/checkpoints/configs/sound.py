"""How a checkpoint turns sound into frames: settings that the engine cannot be told, so they must be its own.

transformers writes them as ``feature_extractor`` within ``processor_config.json``; versions before 5 wrote
``preprocessor_config.json``, beside settings for pictures. A checkpoint without either is one whose settings
are transformers' own.

Source: transformers ``models/gemma4/feature_extraction_gemma4.py``; LiteRT-LM's audio preprocessor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.checkpoint import PREPROCESSOR, PROCESSOR, Checkpoint
from exporter.checkpoints.configs.config_reader import ConfigReader, is_number

FEATURE_EXTRACTOR = "feature_extractor"
EXTRACTOR_TYPE = "feature_extractor_type"
EXTRACTOR = "Gemma4AudioFeatureExtractor"

ENGINES: Mapping[str, float | None] = {
    "sampling_rate": 16_000,
    "feature_size": 128,
    "frame_length": 320,
    "frame_length_ms": 20,
    "hop_length": 160,
    "hop_length_ms": 10,
    "fft_length": 512,
    "fft_overdrive": False,
    "min_frequency": 0,
    "max_frequency": 8_000,
    "mel_floor": 1e-3,
    "preemphasis": 0,
    "input_scale_factor": 1,
    "dither": 0,
    "per_bin_mean": None,
    "per_bin_stddev": None,
}
"""What the engine does. A setting that a checkpoint leaves out has this value in transformers, too."""

LONGEST, PER_TOKEN = "audio_seq_length", "audio_ms_per_token"
DEFAULTS = {LONGEST: 750, PER_TOKEN: 40}
"""Soft tokens of the longest clip, and milliseconds of one."""

DEFAULT_SECONDS = DEFAULTS[LONGEST] * DEFAULTS[PER_TOKEN] // 1000
"""How long a clip may be, where a checkpoint says nothing else."""

MOST_SECONDS = 300
"""The longest clip that may be encoded at once, which takes some 3 GB of memory."""


def longest_clip(target: Checkpoint) -> int:
    """Seconds of the longest clip that a checkpoint's processor encodes at once, rounded up.

    Raises:
        ConfigError: Listing every setting that the engine cannot be told.
    """
    processor = target.json_file(PROCESSOR) or {}
    outer = ConfigReader(processor, str(target.small_file(PROCESSOR)))
    if processor.get(FEATURE_EXTRACTOR) is not None:
        nested = outer.part(FEATURE_EXTRACTOR)
        if nested is not None:
            _check(nested)
    elif (found := target.json_file(PREPROCESSOR)) is not None and _is_of_sound(found):
        flat = ConfigReader(found, str(target.small_file(PREPROCESSOR)))
        _check(flat)
        flat.finish()
    tokens, milliseconds = (outer.integer(key, default=value) for key, value in DEFAULTS.items())
    if milliseconds not in (0, DEFAULTS[PER_TOKEN]):
        outer.refuse(PER_TOKEN, str(DEFAULTS[PER_TOKEN]))
    seconds = -(-tokens * milliseconds // 1000)
    if seconds > MOST_SECONDS:
        outer.refuse(
            LONGEST, f"no more than {MOST_SECONDS} s of sound, or an export with --no-audio"
        )
    outer.finish()
    return seconds


def _is_of_sound(settings: Mapping[str, Any]) -> bool:
    return settings.get(EXTRACTOR_TYPE) is not None or "sampling_rate" in settings


def _check(reader: ConfigReader) -> None:
    if reader.config.get(EXTRACTOR_TYPE, EXTRACTOR) != EXTRACTOR:
        reader.refuse(EXTRACTOR_TYPE, EXTRACTOR)
    for key, expected in ENGINES.items():
        found = reader.config.get(key, expected)
        if found == expected and (expected is None or is_number(found) or found is False):
            continue
        reader.refuse(key, f"{expected}, as LiteRT-LM has it, or an export with --no-audio")
