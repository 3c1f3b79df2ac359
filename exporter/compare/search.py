"""Finding a recipe for a budget: measure each group by itself, spend bytes where they help, measure again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exporter.compare.allocation import (
    Budget,
    Choice,
    GroupOptions,
    QualityBudget,
    SizeBudget,
    allocate,
)
from exporter.compare.groups import Group, Way, parse_way
from exporter.compare.trials import REFERENCE, Trials, Whole, sensitivity
from exporter.errors import RecipeError
from exporter.progress import Reporter
from quantize.recipe import Recipe

ATTEMPTS = 6
TIGHTER = 0.85
"""What a budget is multiplied with when the whole costs more than the sum of its parts."""


class BudgetError(RecipeError):
    """No recipe made of the given ways to store tensors keeps to the budget."""


@dataclass(frozen=True)
class RecipeLimits:
    """The budget: of bytes, or of losses against float32. None is no limit."""

    file_bytes: int | None = None
    divergence: float | None = None
    """Nats per position."""
    lost: float | None = None
    """Share of drafts."""

    def kept(self, whole: Whole, reference: Whole) -> bool:
        """Whether a recipe keeps to it."""
        return (
            (self.file_bytes is None or whole.file_bytes <= self.file_bytes)
            and (self.divergence is None or whole.divergence <= self.divergence)
            and (self.lost is None or reference.accepted - whole.accepted <= self.lost)
        )


@dataclass(frozen=True)
class Found:
    """The recipe, what it was expected to cost and does cost, and all it was chosen from."""

    recipe: Recipe
    chosen: Choice
    reference: Whole
    start: Whole
    measured: Whole
    groups: tuple[GroupOptions, ...]

    @property
    def expected_divergence(self) -> float:
        """If the effects of groups added up."""
        return self.start.divergence + sum(option.divergence for option in self.chosen.values())

    @property
    def expected_accepted(self) -> float:
        """If the effects of groups added up."""
        return self.start.accepted - sum(option.lost for option in self.chosen.values())

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        recipe = {"name": self.recipe.name, "rules": self.recipe.to_json()}
        expected = {"divergence": self.expected_divergence, "accepted": self.expected_accepted}
        return {**asdict(self), "recipe": recipe, "expected": expected}


def search(
    trials: Trials,
    tried: Sequence[Group],
    ways: Sequence[Way],
    limits: RecipeLimits,
    reporter: Reporter,
) -> Found:
    """Look for the recipe with the least damage within a size, or the smallest within losses.

    Args:
        trials: Where every group is stored as at the start.
        tried: Groups that may be stored otherwise.
        ways: How.
        limits: The budget.
        reporter: Told what is going on.

    Raises:
        BudgetError: The budget cannot be kept.
        MtpExportError: A bundle cannot be made or run.
    """
    with reporter.stage(f"Measuring float32, and {trials.start.word} everywhere", None):
        reference = trials.run(REFERENCE)
        start = trials.run(trials.recipe({}))
    groups = sensitivity(trials, tried, ways, start, reporter)
    for attempt in range(ATTEMPTS):
        chosen = allocate(groups, _budget(limits, reference, start, TIGHTER**attempt))
        recipe = trials.recipe({name: parse_way(option.storage) for name, option in chosen.items()})
        with reporter.stage(f"Measuring what was found, attempt {attempt + 1}", None):
            measured = trials.run(recipe)
        if limits.kept(measured, reference):
            return Found(recipe, chosen, reference, start, measured, tuple(groups))
    raise BudgetError(
        f"no recipe of these storages keeps to the budget: the nearest has {measured.file_bytes:,} bytes, a "
        f"KL divergence of {measured.divergence:.4f} nats and {measured.accepted:.1%} of drafts accepted "
        f"(float32: {reference.accepted:.1%}); allow more, or offer other storages with --store"
    )


def _budget(limits: RecipeLimits, reference: Whole, start: Whole, tighter: float) -> Budget:
    """What is left of the limits for steps away from the start."""
    if limits.file_bytes is not None:
        return SizeBudget(int(limits.file_bytes * tighter**0.1) - start.file_bytes)
    lost = None
    if limits.lost is not None:
        lost = tighter * (limits.lost - (reference.accepted - start.accepted))
    divergence = None
    if limits.divergence is not None:
        divergence = tighter * (limits.divergence - start.divergence)
    return QualityBudget(divergence, lost)
