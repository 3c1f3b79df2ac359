"""Asking unmodified transformers about pictures: what the tower makes of them, and what the model answers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.tensors.tower_names import VISION
from exporter.contract.names import Section
from exporter.verify.sides.golden import (
    FLOAT_BYTES,
    missing,
    not_installed,
    reference_run,
    target_block,
    too_large,
)
from exporter.weights.matching import Weight, Weights
from exporter.weights.tower_parameters import PROJECTION
from runtime_py.litert.pictures import PicturePatches
from runtime_py.litert.towers import Floats

TORCH_SCORES = 3
"""Copies of the scores of all heads that transformers' attention has at a time."""


@dataclass(frozen=True)
class Seen:
    """What one side makes of a picture."""

    features: Floats  # [n, D] of the tower
    embeddings: Floats  # [n, H] after the adapter


def missing_for_tower(target: Checkpoint, weights: Weights, scores: int) -> str:
    """Why transformers cannot be asked about pictures; empty if it can.

    Args:
        target: The checkpoint.
        weights: Of its tower.
        scores: Attention scores of a layer, over all heads.
    """
    if _needs_whole_model(target, weights):
        return missing(target, None)
    tensors = (weight.tensor for section in VISION.sections for weight in weights[section].values())
    elements = sum(int(np.prod(tensor.shape)) for tensor in tensors) + TORCH_SCORES * scores
    return not_installed("transformers") or too_large(FLOAT_BYTES * elements, "this vision tower")


def ask_tower(
    target: Checkpoint, weights: Weights, pictures: Sequence[PicturePatches], threads: int
) -> tuple[Seen, ...]:
    """Run ``reference_tower`` on pictures, which may be padded, and read its file.

    Raises:
        TransformersError: It failed; the message ends with its last words.
    """
    with tempfile.TemporaryDirectory(prefix="mtp-export-pictures-") as folder:
        given = Path(folder) / "pictures.npz"
        arrays = dict[str, NDArray[Any]]()
        for index, picture in enumerate(pictures):
            arrays[f"{index}.colours"] = picture.colours
            arrays[f"{index}.places"] = picture.places
        np.savez(given, **arrays)  # type: ignore[arg-type]
        request = {
            **target_block(target, threads),
            "whole": _needs_whole_model(target, weights),
            "prefix": VISION.prefix((*target.tensors, *target.packed)),
            "projection_file": str(weights[Section.VISION_ADAPTER][PROJECTION].tensor.file),
            "pictures": str(given),
        }
        with reference_run("reference_tower", request, "seen.npz") as out, np.load(out) as found:
            return tuple(
                Seen(found[f"{index}.features"], found[f"{index}.embeddings"])
                for index in range(len(pictures))
            )


@dataclass(frozen=True)
class PicturePrompt:
    """A prompt as text, and the picture files for its places."""

    text: str
    images: tuple[Path, ...]


def ask_replies(
    target: Checkpoint,
    prompts: Sequence[PicturePrompt],
    most_tokens: int,
    stops: Collection[int],
    suppressed: Collection[int],
    threads: int,
) -> tuple[tuple[int, ...], ...]:
    """Run ``reference_replies`` and read the tokens of each greedy reply.

    Raises:
        TransformersError: It failed; the message ends with its last words.
    """
    request = {
        **target_block(target, threads),
        "prompts": [{"text": p.text, "images": list(map(str, p.images))} for p in prompts],
        "most_tokens": most_tokens,
        "stops": sorted(stops),
        "suppressed": sorted(suppressed),
    }
    with reference_run("reference_replies", request, "replies.json") as out:
        return tuple(map(tuple, json.loads(out.read_text(encoding="utf-8"))))


def _needs_whole_model(target: Checkpoint, weights: Weights) -> bool:
    """Whether an adapter changes the tower, or codes that only the whole model's loading unpacks."""

    def plain(weight: Weight) -> bool:
        own = weight.tensor.file.is_relative_to(target.folder)
        return own and weight.packed is None and weight.change is None

    return not all(
        plain(weight) for section in VISION.sections for weight in weights[section].values()
    )
