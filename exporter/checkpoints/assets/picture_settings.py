"""How a checkpoint wants its pictures prepared, as far as that can be otherwise than the engine does it.

The engine makes a picture's colours numbers from 0 to 1 and cuts it into patches by the sizes that the bundle
names; it cannot be told anything else. transformers writes these settings to ``processor_config.json``, and
older versions to ``preprocessor_config.json``.

Source: transformers ``models/gemma4/image_processing_gemma4.py``; LiteRT-LM's image preprocessor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from exporter.checkpoints.checkpoint import PREPROCESSOR, PROCESSOR, Checkpoint
from exporter.checkpoints.configs.config_reader import is_number
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.errors import CheckpointError, listed

PICTURES = "image_processor"
"""The block of ``processor_config.json`` about pictures; the older file is about nothing else."""

RESCALED = 1 / 255

ALWAYS = {"do_resize": True, "do_rescale": True, "do_convert_rgb": True}
"""What the engine does to every picture."""

COLOURS = 3


def check_picture_settings(target: Checkpoint, config: VisionConfig) -> None:
    """Check that the engine prepares pictures as the checkpoint was trained on them.

    Raises:
        CheckpointError: Listing every setting that the engine cannot be told.
    """
    file, settings = _settings(target)
    if problems := list(_problems(settings, config)):
        raise CheckpointError(
            f"{target.small_file(file)}: the engine cannot be told to prepare pictures like this, and the "
            f"replies would be wrong; correct it, or leave the tower out with --no-vision: {listed(problems)}"
        )


def _settings(target: Checkpoint) -> tuple[str, Mapping[str, Any]]:
    """The block about pictures, and the file that it is in; empty where there is none."""
    whole = target.json_file(PROCESSOR) or {}
    if isinstance(block := whole.get(PICTURES), Mapping):
        return PROCESSOR, block
    return PREPROCESSOR, target.json_file(PREPROCESSOR) or {}


def _problems(settings: Mapping[str, Any], config: VisionConfig) -> Iterator[str]:
    expected: dict[str, object] = {
        **ALWAYS,
        "patch_size": config.patch_size,
        "pooling_kernel_size": config.pooling,
    }
    for key, value in expected.items():
        if settings.get(key) not in (None, value):
            yield f"{key} is {settings[key]!r}, expected {value}"
    factor = settings.get("rescale_factor", RESCALED)
    if not is_number(factor) or not math.isclose(factor, RESCALED, rel_tol=1e-4):
        yield f"rescale_factor is {factor!r}, expected 1/255"
    if settings.get("do_normalize"):
        for key, value in (("image_mean", 0.0), ("image_std", 1.0)):
            if settings.get(key, [value] * COLOURS) not in (value, [value] * COLOURS):
                yield f"{key} is {settings[key]!r} with do_normalize, expected {value:g} for each colour"
