"""Asking unmodified transformers about pictures and sounds: what a tower makes of them, what is answered."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.tensors.tower_names import TowerNames
from exporter.verify.sides.golden import (
    FLOAT_BYTES,
    missing,
    not_installed,
    reference_run,
    target_block,
    too_large,
)
from exporter.verify.tower_input import TowerInput
from exporter.weights.matching import Weight, Weights
from exporter.weights.tower_parameters import PROJECTION
from runtime_py.litert.towers import Floats


@dataclass(frozen=True)
class Encoded:
    """What one side makes of a picture or a piece of a clip."""

    features: Floats  # [n, D] of the tower
    embeddings: Floats  # [n, H] after the adapter


def missing_for_tower(
    target: Checkpoint, names: TowerNames, weights: Weights, activations: int
) -> str:
    """Why transformers cannot be asked about a tower; empty if it can.

    Args:
        target: The checkpoint.
        names: Of the tower.
        weights: Of the tower.
        activations: Elements of them that transformers has at a time, at the most.
    """
    if _needs_whole_model(target, names, weights):
        return missing(target, None)
    tensors = (weight.tensor for section in names.sections for weight in weights[section].values())
    elements = sum(int(np.prod(tensor.shape)) for tensor in tensors) + activations
    return not_installed("transformers") or too_large(
        FLOAT_BYTES * elements, f"this {names.kind} tower"
    )


def ask_tower(
    target: Checkpoint,
    names: TowerNames,
    weights: Weights,
    inputs: Sequence[TowerInput],
    threads: int,
) -> tuple[Encoded, ...]:
    """Run ``reference_tower`` on inputs and read its file.

    Raises:
        TransformersError: It failed; the message ends with its last words.
    """
    with tempfile.TemporaryDirectory(prefix="mtp-export-inputs-") as folder:
        file = Path(folder) / "inputs.npz"
        arrays = {
            f"{index}.{place}": array
            for index, given in enumerate(inputs)
            for place, array in enumerate(given.arrays.values())
        }
        np.savez(file, **arrays)  # type: ignore[arg-type]
        request = {
            **target_block(target, threads),
            "tower": names.kind,
            "whole": _needs_whole_model(target, names, weights),
            "prefix": names.prefix((*target.tensors, *target.packed)),
            "projection_file": str(weights[names.adapter][PROJECTION].tensor.file),
            "inputs": str(file),
        }
        with reference_run("reference_tower", request, "encoded.npz") as out, np.load(out) as found:
            return tuple(
                Encoded(found[f"{index}.features"], found[f"{index}.embeddings"])
                for index in range(len(inputs))
            )


@dataclass(frozen=True)
class MediaPrompt:
    """A prompt as text, and the files for its places, of the kind that ``reference_replies`` reads."""

    text: str
    files: tuple[Path, ...]


def ask_replies(
    target: Checkpoint,
    names: TowerNames,
    prompts: Sequence[MediaPrompt],
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
        "tower": names.kind,
        "prompts": [{"text": p.text, "files": list(map(str, p.files))} for p in prompts],
        "most_tokens": most_tokens,
        "stops": sorted(stops),
        "suppressed": sorted(suppressed),
    }
    with reference_run("reference_replies", request, "replies.json") as out:
        return tuple(map(tuple, json.loads(out.read_text(encoding="utf-8"))))


def _needs_whole_model(target: Checkpoint, names: TowerNames, weights: Weights) -> bool:
    """Whether an adapter changes the tower, or codes that only the whole model's loading unpacks."""

    def plain(weight: Weight) -> bool:
        own = weight.tensor.file.is_relative_to(target.folder)
        return own and weight.packed is None and weight.change is None

    return not all(
        plain(weight) for section in names.sections for weight in weights[section].values()
    )
