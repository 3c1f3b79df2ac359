"""What the result of a tuning depends on: checksums of all files, and options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from exporter.checkpoints.checkpoint import hash_files
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.source_hashes import Hashes
from exporter.files.checksum import sha256
from exporter.progress import Reporter
from exporter.regular_file import require_file
from exporter.tune.options import TuneError, TuningOptions
from quantize.recipe import Recipe

TUNING_VERSION = 1
"""Of the way in which drafters are tuned: work of another version does not go on."""


def checkpoint_hashes(pair: Pair, reporter: Reporter) -> Hashes:
    """SHA-256 of every file of both checkpoints, by role and name."""
    files = {role: checkpoint.source_files() for role, checkpoint in pair.checkpoints().items()}
    total = sum(file.stat().st_size for found in files.values() for file in found)
    with reporter.stage("Checksums of the checkpoints", total) as advance:
        return {role: hash_files(found, advance) for role, found in files.items()}


def tuning_key(
    hashes: Hashes, options: TuningOptions, recipe: Recipe, device: torch.device
) -> Mapping[str, Any]:
    """All that the result depends on."""
    files = {
        "prompts": options.prompts,
        "conversations": options.conversations,
        "keep": options.keep,
        "bundle": options.bundle,
    }
    return {
        **hashes,
        **{name: None if file is None else _checksum(file) for name, file in files.items()},
        "recipe": recipe.to_json(),
        "draft length": options.draft_length,
        "max tokens": options.max_tokens,
        "epochs": options.epochs,
        "rate": options.rate,
        "seed": options.seed,
        "device": device.type,
        "version": TUNING_VERSION,
    }


def _checksum(file: Path) -> str:
    """SHA-256 of a file; of a pipe, which has been read by now, it would say nothing."""
    try:
        return sha256(require_file(file))
    except OSError as error:
        raise TuneError(f"{file}: the file cannot be read: {error.strerror}") from error
