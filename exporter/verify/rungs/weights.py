"""Rung: what the bundle stores is what the checkpoints have, tensor by tensor.

The later rungs that compare the graphs use the stored weights on both sides, so this is where a
wrong scale, a shifted row or a wrong token ordering shows, by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.contract.names import Dtype, Section
from exporter.manifest import stored_recipe
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, Rung, Title
from exporter.verify.sides.stored_weights import (
    StoredConstant,
    StoredConstants,
    UnreadableWeightError,
)
from exporter.verify.tolerances import GAIN_OFF, STEPS_OFF, STEPS_OFF_CALIBRATED
from exporter.weights.matching import Weight, Weights
from quantize.recipe import Algorithm, Recipe

TITLE = Title(
    "weights",
    "Stored weights are the checkpoints' weights",
    "Give the very checkpoints, --lora and --drafter-lora that were exported (the notes say which files "
    "differ; inspect shows the manifest); if they are the ones, export again and report it as a bug.",
    needs_target=True,
)

REASON = (
    f"float32 tensors and the token ordering are equal; of quantised rows the error is at most "
    f"{STEPS_OFF:g} steps as a root mean square (rounding to the nearest gives 0.29; with gptq, which "
    f"moves columns to make up for others, {STEPS_OFF_CALIBRATED:g}), and the best factor between the two "
    f"sides is within {GAIN_OFF[8]:g} of 1 (int4: {GAIN_OFF[4]:g}, int2: {GAIN_OFF[2]:g})"
)

SHOWN = 8
"""Tensors listed by name before the rest is counted."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class RowsCompared:
    """The worst row of one tensor, relative to what is allowed: 1 is at the limit."""

    steps: float
    gain: float
    differing: int


def judge(evidence: Evidence) -> Rung:
    """Compare every tensor; one that the bundle lacks is a problem too."""
    recipe = stored_recipe(evidence.inspection.manifest or {})
    try:
        stored = evidence.constants
    except UnreadableWeightError as error:
        return TITLE.skipped(str(error))
    with evidence.reporter.stage("Comparing stored weights", None):
        return compare_weights(evidence.weights, stored, recipe)


def compare_weights(weights: Weights, stored: StoredConstants, recipe: Recipe) -> Rung:
    """The checkpoints' weights with those of a bundle that was made with ``recipe``."""
    problems: list[str] = []
    steps, gain, differing, count = 0.0, 0.0, 0, 0
    for section, weight in _each(weights):
        constant = stored.get(section, {}).get(weight.name)
        count += 1
        if constant is None:
            problems.append(f"{weight.name} is not in the bundle")
            continue
        found = _compare(weight, constant, _steps_allowed(recipe, weight.name))
        steps, gain = max(steps, found.steps), max(gain, found.gain)
        differing += found.differing
        problems += _describe(weight.name, found)
    figures = (
        Figure("tensors compared", count),
        Figure("unequal elements of float32 and integer tensors", differing, 0),
        Figure("worst row error (rms), by the quantisation steps allowed", steps, 1),
        Figure("worst row factor, by what its bits allow", gain, 1),
    )
    if len(problems) > SHOWN:
        problems[SHOWN:] = [f"{len(problems) - SHOWN} more tensors"]
    return TITLE.judged(figures, REASON, problems=problems)


def _each(weights: Weights) -> Iterator[tuple[Section, Weight]]:
    for section, found in weights.items():
        for weight in found.values():
            yield section, weight


def _describe(name: str, found: RowsCompared) -> list[str]:
    if found.differing:
        return [f"{name}: {found.differing} elements are not the checkpoint's"]
    if found.steps > 1 or found.gain > 1:
        return [
            f"{name}: a row is off by {found.steps:.2g} times and its factor by {found.gain:.2g} times "
            "what rounding explains: its scale or its codes are wrong"
        ]
    return []


def _steps_allowed(recipe: Recipe, name: str) -> float:
    calibrated = recipe.rule(name).algorithm is Algorithm.GPTQ
    return STEPS_OFF_CALIBRATED if calibrated else STEPS_OFF


def _compare(weight: Weight, constant: StoredConstant, allowed: float) -> RowsCompared:
    if weight.spec.dtype is Dtype.INT32:
        unequal = weight.ordering() != constant.integers().reshape(weight.spec.shape)
        return RowsCompared(0.0, 0.0, int(unequal.sum()))
    steps, gain, differing, row = 0.0, 0.0, 0, 0
    for block in weight.blocks():
        kept = constant.floats(row, len(block))
        if constant.quantised:
            scales = constant.scales[row : row + len(block)]
            wide = np.repeat(scales, weight.row_length // scales.shape[1], axis=1)
            rms = np.sqrt(np.square((block - kept) / wide).mean(axis=1))
            steps = max(steps, float(rms.max()) / allowed)
            off = float(_gain_off(block, kept).max())
            gain = max(gain, off / GAIN_OFF[constant.bits])
        else:
            differing += int((block != kept).sum())
        row += len(block)
    return RowsCompared(steps, gain, differing)


def _gain_off(rows: Floats, kept: Floats) -> Floats:
    """Per row ``[R]``: how far the factor that fits ``kept`` to ``rows`` best is from 1."""
    power = np.square(kept).sum(axis=1)
    fitted = (rows * kept).sum(axis=1) / np.where(power > 0, power, 1.0)
    off: Floats = np.where(power > 0, np.abs(fitted - 1.0), 0.0)
    return off
