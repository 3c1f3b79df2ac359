"""How a checkpoint wants to be sampled: generation_config.json, read as transformers reads it.

What transformers fills in where a key is missing or null (``_get_default_generation_params`` of its 5.22) is
filled in here: ``do_sample`` false, ``temperature`` 1, ``top_k`` 50, ``top_p`` 1. ``top_k`` 0 and ``top_p`` 1
leave everything in; ``top_p`` 0 leaves one token. A ``temperature`` of 0, with which transformers refuses to
sample, is how people write greedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.assets.text_settings import TextSettings
from exporter.checkpoints.checkpoint import GENERATION
from exporter.errors import CheckpointError, listed

TOP_K, TOP_P, TEMPERATURE = 50, 1.0, 1.0
"""Transformers' defaults."""

MOST = 1_000_000
"""Above any sampler setting that means something."""

NOT_CARRIED: Mapping[str, Any] = {
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "encoder_repetition_penalty": 1,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
    "exponential_decay_length_penalty": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1,
    "min_p": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "repetition_penalty": 1,
    "sequence_bias": None,
    "stop_strings": None,
    "top_h": None,
    "typical_p": 1,
}
"""Settings that change what is generated and that LlmMetadata has no field for, with what means "off"."""


@dataclass(frozen=True)
class SamplerDefaults:
    """Sampling settings that an app gets if it asks for none; ``top_k`` 1 is greedy."""

    top_k: int
    top_p: float
    temperature: float


GREEDY = SamplerDefaults(1, 1.0, 1.0)


def read_sampler(settings: TextSettings, rows: int) -> SamplerDefaults:
    """The sampler that transformers would use.

    Args:
        settings: The checkpoint's files.
        rows: Tokens of the model: so many are left in where nothing limits them.

    Raises:
        CheckpointError: Listing settings that are not numbers, or make no sense.
    """
    generation, problems = settings.generation, list[str]()
    top_k = _number(generation, "top_k", TOP_K, problems)
    top_p = _number(generation, "top_p", TOP_P, problems)
    temperature = _number(generation, "temperature", TEMPERATURE, problems)
    if top_k != int(top_k):
        problems.append(f"top_k: expected a whole number, found {top_k}")
    sampled = generation.get("do_sample")
    if sampled is not None and not isinstance(sampled, bool):
        problems.append(f"do_sample: expected true or false, found {sampled!r}")
    if problems:
        raise CheckpointError(f"{settings.where}: {GENERATION}: {listed(problems)}")
    if not sampled or 0 in (temperature, top_p):
        return GREEDY
    return SamplerDefaults(min(int(top_k) or rows, rows), min(top_p, 1.0), temperature)


def _number(generation: Mapping[str, Any], key: str, absent: float, problems: list[str]) -> float:
    value = generation.get(key)
    if value is None:
        return absent
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST:
        problems.append(f"{key}: expected a number from 0 on, found {value!r}")
        return absent
    return value


def not_carried(settings: TextSettings) -> list[str]:
    """Settings of the checkpoint that a bundle cannot hold, as ``name value``."""
    return [
        f"{key} {value}"
        for key, off in NOT_CARRIED.items()
        if (value := settings.generation.get(key)) is not None and value != off and value != []
    ]
