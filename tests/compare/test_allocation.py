"""Spending bytes: convex hulls, the greedy knapsack, budgets. Pure arithmetic, no model."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.compare.allocation import (
    Choice,
    GroupOptions,
    Option,
    QualityBudget,
    SizeBudget,
    allocate,
    steps,
    worthwhile,
)

START = Option("int8")
GOOD = Option("int4-block32", -40, 0.01)
SMALL = Option("int4", -50, 0.02)
TINY = Option("int2", -75, 0.50)


def damage(chosen: Choice) -> float:
    return sum(option.damage for option in chosen.values())


def nbytes(chosen: Choice) -> int:
    return sum(option.nbytes for option in chosen.values())


class TestWorthwhile:
    """Which options anyone would choose."""

    def test_options_on_the_hull_stay_in_order_of_size(self) -> None:
        assert worthwhile(GroupOptions("a", (START, TINY, GOOD, SMALL))) == [
            START,
            GOOD,
            SMALL,
            TINY,
        ]

    def test_what_damages_more_than_a_smaller_option_goes(self) -> None:
        bad = Option("int4-block64", -45, 0.03)
        assert bad not in worthwhile(GroupOptions("a", (START, GOOD, bad, SMALL)))

    def test_what_a_mixture_of_neighbours_beats_goes(self) -> None:
        """Half-way in bytes between two options, but with more than half of their damage."""
        above = Option("x", -25, 0.012)
        assert worthwhile(GroupOptions("a", (START, above, SMALL))) == [START, SMALL]

    def test_of_equal_sizes_the_less_damaging_stays(self) -> None:
        worse, better = Option("minmax", -50, 0.3), Option("clip", -50, 0.1)
        assert worthwhile(GroupOptions("a", (START, worse, better))) == [START, better]
        assert worthwhile(GroupOptions("a", (START, better, worse))) == [START, better]

    def test_what_saves_nothing_is_no_option(self) -> None:
        assert worthwhile(GroupOptions("a", (START, Option("float32", 100, -0.1)))) == [START]


class TestAllocate:
    """Who gets the bytes."""

    def test_the_least_sensitive_group_goes_first(self) -> None:
        tough = GroupOptions("tough", (START, Option("int4", -50, 0.001)))
        frail = GroupOptions("frail", (START, Option("int4", -50, 0.1)))
        chosen = allocate([frail, tough], SizeBudget(-50))
        assert {name: option.storage for name, option in chosen.items()} == {
            "frail": "int8",
            "tough": "int4",
        }

    def test_a_size_that_cannot_be_reached_takes_every_step(self) -> None:
        chosen = allocate([GroupOptions("a", (START, GOOD, TINY))], SizeBudget(-1000))
        assert chosen == {"a": TINY}

    def test_lost_acceptance_counts_as_damage(self) -> None:
        drafter = GroupOptions("drafter", (START, Option("int4", -50, 0.0, lost=0.05)))
        target = GroupOptions("target", (START, Option("int4", -50, 0.01)))
        assert allocate([drafter, target], SizeBudget(-50))["drafter"] == START

    def test_a_quality_budget_is_never_exceeded_and_a_gain_buys_nothing(self) -> None:
        gain = GroupOptions("gain", (START, Option("int4", -10, -0.5)))
        one = GroupOptions("one", (START, Option("int4", -50, 0.06)))
        two = GroupOptions("two", (START, Option("int4", -40, 0.06)))
        chosen = allocate([gain, one, two], QualityBudget(0.1, None))
        assert [chosen[name].storage for name in ("gain", "one", "two")] == ["int4", "int4", "int8"]

    def test_after_a_forbidden_step_its_group_stays(self) -> None:
        group = GroupOptions("a", (START, Option("int4", -50, 0.2), Option("int2", -75, 0.3)))
        assert allocate([group], QualityBudget(0.1, None)) == {"a": START}

    def test_both_losses_are_limited(self) -> None:
        group = GroupOptions("a", (START, Option("int4", -50, 0.0, lost=0.03)))
        assert allocate([group], QualityBudget(1.0, 0.02)) == {"a": START}
        assert allocate([group], QualityBudget(1.0, 0.04))["a"].storage == "int4"


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 90), st.integers(0, 100)), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 300),
)
def test_no_choice_of_as_few_bytes_has_less_damage(
    found: list[list[tuple[int, int]]], wanted: int
) -> None:
    """Against every combination of options; those between two steps of the greedy are not asked."""
    groups = [
        GroupOptions(
            str(index),
            (START, *(Option(f"{b}-{d}", -b, d / 100) for b, d in options)),
        )
        for index, options in enumerate(found)
    ]
    chosen = allocate(groups, SizeBudget(-wanted))
    for combination in product(*(group.options for group in groups)):
        other = {group.pattern: option for group, option in zip(groups, combination, strict=True)}
        if nbytes(other) <= nbytes(chosen):
            assert damage(other) >= damage(chosen) - 1e-9


def test_steps_of_one_group_become_dearer() -> None:
    prices = [step.price for step in steps([GroupOptions("a", (START, GOOD, SMALL, TINY))])]
    assert prices == sorted(prices)
    assert prices == pytest.approx([0.01 / 40, 0.01 / 10, 0.48 / 25])
