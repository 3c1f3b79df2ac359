"""Whether a recipe fits a model: checked before anything expensive starts, all offences at once."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.bundle.tensor_kind import tensor_kind
from exporter.contract import Section
from exporter.errors import RecipeError, listed
from exporter.weights.matching import Weight, Weights
from exporter.weights.storing import misfit
from quantize.recipe import Algorithm, Recipe

TABLES = (Section.EMBEDDER, Section.PER_LAYER_EMBEDDER)
"""Sections that only look rows up."""


def check_recipe(
    recipe: Recipe, weights: Weights, *, calibrating: bool = False, int8_caches: bool = False
) -> None:
    """Check that every rule has something to say and can be carried out.

    Args:
        recipe: How weights are to be stored.
        weights: Of the bundle's sections.
        calibrating: Whether there is a calibration text.
        int8_caches: Whether that text is of use for the caches.

    Raises:
        RecipeError: Naming rules that match no matrix or table, tensors whose rows do not fit their
            storage, GPTQ where it cannot be, and a calibration text that is missing or unused.
    """
    problems = [*_idle(recipe, weights), *_misfits(recipe, weights), *_looked_up(recipe, weights)]
    if recipe.calibrated and not calibrating:
        problems.append("gptq needs a text: give --calibration FILE.txt, or use clip instead")
    if calibrating and not recipe.calibrated and not int8_caches:
        problems.append("no rule is gptq, so a calibration text is of no use: leave it out")
    if problems:
        raise RecipeError(f"recipe {recipe.name}: {listed(problems)}")


def _matrices(weights: Weights) -> Iterator[tuple[Section, Weight]]:
    for section, found in weights.items():
        for weight in found.values():
            if weight.is_matrix:
                yield section, weight


def _idle(recipe: Recipe, weights: Weights) -> Iterator[str]:
    """A rule for the drafter may be idle in a bundle without one."""
    idle = recipe.unmatched(weight.name for _, weight in _matrices(weights))
    if Section.MTP_DRAFTER not in weights:
        idle = [pattern for pattern in idle if not pattern.startswith("drafter.")]
    if idle:
        yield (
            f"no matrix or table of this model matches {', '.join(idle)}; correct or remove these "
            "rules"
        )


def _misfits(recipe: Recipe, weights: Weights) -> Iterator[str]:
    """Once for tensors that differ only in their layer."""
    seen = set()
    for _, weight in _matrices(weights):
        storage = recipe.storage(weight.name)
        kind = tensor_kind(weight.name), weight.row_length
        if weight.ready is None and not storage.fits(weight.row_length) and kind not in seen:
            seen.add(kind)
            yield misfit(weight, storage)


def _looked_up(recipe: Recipe, weights: Weights) -> Iterator[str]:
    for section, weight in _matrices(weights):
        if section in TABLES and recipe.rule(weight.name).algorithm is Algorithm.GPTQ:
            yield (
                f"{weight.name} is looked up and never multiplied, so gptq has no inputs to go by; "
                "give it clip"
            )
