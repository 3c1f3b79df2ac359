"""Plots of a tuning: accepted drafts by position, speed by what a round costs, the training's course."""

from __future__ import annotations

from exporter.report.plots import Axis, Level, Plot, Series
from exporter.tune.outcome import Compared, TuningOutcome

PERCENT = Axis(0, 1, tuple((v / 4, f"{v * 25} %") for v in range(5)))
STEPS_IN_A_DECODE = 4
"""Points of a line for each decode that a round costs more."""


def by_position(found: TuningOutcome, compared: Compared) -> Plot:
    """Of all rounds, those in which the draft at each position was accepted."""
    places = tuple(range(1, found.draft_length + 1))
    return Plot(
        "Share of rounds in which each draft was accepted",
        Axis(0.5, len(places) + 0.5, tuple((place, f"draft {place}") for place in places)),
        PERCENT,
        series=(
            Series("before", places, compared.before.by_position),
            Series("after", places, compared.after.by_position),
        ),
        height=240,
    )


def speed(found: TuningOutcome) -> Plot:
    """How much faster than plain decoding MTP is, by what a round costs: from one decode, which is free."""
    most = found.draft_length + 1
    costs = tuple(
        1 + step / STEPS_IN_A_DECODE for step in range((most - 1) * STEPS_IN_A_DECODE + 1)
    )
    drafters = (("before", found.held_out.before), ("after", found.held_out.after))
    lines = tuple(
        Series(name, costs, tuple(drafting.tokens_per_round / cost for cost in costs))
        for name, drafting in drafters
    )
    return Plot(
        "Speed with MTP, by what a round costs",
        Axis(1, most, tuple((cost, f"{cost}") for cost in range(1, most + 1))),
        Axis(0, most, tuple((v, f"{v} x") for v in range(most + 1))),
        "cost of a round, in decodes of the target",
        levels=(Level(1.0, "even", "plain decoding"),),
        series=lines,
        inset=6,
    )


def course(found: TuningOutcome) -> Plot | None:
    """Acceptance on the watched answers as the training went on; None where there was no training."""
    readings = found.course
    if len(readings) < 2:
        return None
    steps = tuple(reading.step for reading in readings)
    return Plot(
        "Drafts accepted on the watched answers, by training step",
        Axis(steps[0], steps[-1], tuple((step, f"{step:,}") for step in _few(steps))),
        PERCENT,
        "training step",
        series=(Series("watched answers", steps, tuple(r.acceptance for r in readings)),),
        height=240,
        inset=6,
    )


def _few(steps: tuple[int, ...]) -> tuple[int, ...]:
    """At most five of them, the first among them."""
    return steps[:: -(-len(steps) // 5)]
