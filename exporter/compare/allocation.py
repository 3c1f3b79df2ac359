"""Which group of tensors gets how many bits, once it is known what each choice costs: pure arithmetic.

Effects of groups are taken to add up. That is true to first order, and the search measures what it
found as a whole afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

EXCHANGE = 1.0
"""Nats of KL divergence that weigh as much as losing all acceptance: a point of acceptance is worth ten
millinats. Only a choice between target and drafter depends on it."""


@dataclass(frozen=True)
class Option:
    """One way to store a group, and what changes if nothing else does."""

    storage: str
    nbytes: int = 0
    """Bytes added to the bundle; negative if saved."""
    divergence: float = 0.0
    """KL divergence added, nats per position."""
    lost: float = 0.0
    """Share of drafts no longer accepted."""

    @property
    def damage(self) -> float:
        """Both in one number; what only noise can explain (a gain) counts as none."""
        return max(self.divergence, 0.0) + EXCHANGE * max(self.lost, 0.0)


@dataclass(frozen=True)
class GroupOptions:
    """A group of tensors and its options; the first is how it is stored to begin with."""

    pattern: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class SizeStep:
    """Storing a group in fewer bytes."""

    pattern: str
    before: Option
    after: Option

    @property
    def saved(self) -> int:
        return self.before.nbytes - self.after.nbytes

    @property
    def price(self) -> float:
        """Damage per byte saved."""
        return (self.after.damage - self.before.damage) / self.saved


Choice = dict[str, Option]
"""By pattern."""


class Budget(Protocol):
    """When a search has done enough, and what it must not do."""

    def reached(self, chosen: Choice) -> bool:
        """Whether no further step is wanted."""

    def allows(self, chosen: Choice) -> bool:
        """Whether a step may lead here."""


@dataclass(frozen=True)
class SizeBudget:
    """No more bytes than this added, all groups together; negative: so many must be saved."""

    nbytes: int

    def reached(self, chosen: Choice) -> bool:
        return sum(option.nbytes for option in chosen.values()) <= self.nbytes

    def allows(self, chosen: Choice) -> bool:
        return True


@dataclass(frozen=True)
class QualityBudget:
    """As few bytes as these losses allow; None is no limit."""

    divergence: float | None
    lost: float | None

    def reached(self, chosen: Choice) -> bool:
        return False

    def allows(self, chosen: Choice) -> bool:
        divergence = sum(max(option.divergence, 0.0) for option in chosen.values())
        lost = sum(max(option.lost, 0.0) for option in chosen.values())
        return (self.divergence is None or divergence <= self.divergence) and (
            self.lost is None or lost <= self.lost
        )


def worthwhile(group: GroupOptions) -> list[Option]:
    """The options on the lower convex hull of damage over bytes, from the first one down.

    With 8 bits costing 0, 4 bits 1 and 2 bits 10, and 5 in a storage between 8 and 4 that damages as
    much as 4 bits does, that storage is left out: nobody would choose it at any price.
    """
    first, *rest = group.options
    smaller = sorted((o for o in rest if o.nbytes < first.nbytes), key=lambda o: -o.nbytes)
    hull = [first]
    for option in smaller:
        if option.nbytes == hull[-1].nbytes and option.damage >= hull[-1].damage:
            continue
        while len(hull) > 1 and (
            option.nbytes == hull[-1].nbytes
            or _price(hull[-2], option) <= _price(hull[-2], hull[-1])
        ):
            hull.pop()
        hull.append(option)
    return hull


def _price(before: Option, after: Option) -> float:
    return (after.damage - before.damage) / (before.nbytes - after.nbytes)


def steps(groups: Sequence[GroupOptions]) -> list[SizeStep]:
    """Every step worth taking, the cheapest per byte first; a group's own steps stay in order."""
    every = [
        SizeStep(group.pattern, before, after)
        for group in groups
        for before, after in pairwise(worthwhile(group))
    ]
    return sorted(every, key=lambda step: (step.price, -step.saved))


def allocate(groups: Sequence[GroupOptions], budget: Budget) -> Choice:
    """Take steps, cheapest first, until the budget is reached; those it forbids are left out.

    The greedy solution of the knapsack over convex hulls: with the same bytes, no choice among the
    hulls' options has less damage (Lagrange; Everett 1963).
    """
    chosen = {group.pattern: group.options[0] for group in groups}
    for step in steps(groups):
        if budget.reached(chosen):
            break
        if chosen[step.pattern] != step.before:
            continue  # an earlier step of this group was forbidden
        wanted = {**chosen, step.pattern: step.after}
        if budget.allows(wanted):
            chosen = wanted
    return chosen
