"""Plots of the report: acceptance by draft position, errors on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from exporter.report.plots import Axis, Bar, Level, Plot, Series
from exporter.verify.report import Report

FLOOR = 1e-9
"""Errors below, and exact zeros, are drawn here; a logarithm has no zero."""


def plots(report: Report) -> Iterator[tuple[str, list[Plot]]]:
    """Headings, and the plots under each."""
    if report.acceptance:
        yield "Accepted drafts", [_acceptance_plot(report.acceptance)]
    errors = []
    if lines := report.position_errors:
        title = "Relative error of the logits, by position"
        errors.append(_error_plot(title, lines, report.tolerance, "position in the text"))
    if lines := report.layer_errors:
        title = "Relative error of the hidden state, by layer (worst position)"
        errors.append(_error_plot(title, lines, None, "layer"))
    if errors:
        yield "Errors", errors


def _acceptance_plot(counts: Sequence[tuple[int, int]]) -> Plot:
    bars, ticks = [], []
    for place, (drafted, accepted) in enumerate(counts, start=1):
        share = accepted / max(drafted, 1)
        bars.append(Bar(place, share, f"{share:.0%}"))
        ticks.append((place, f"draft {place}\n{accepted} of {drafted}"))
    return Plot(
        "Share of drafts accepted, by position in the round",
        Axis(0.5, len(counts) + 0.5, tuple(ticks)),
        Axis(0, 1, tuple((v / 4, f"{v * 25} %") for v in range(5))),
        bars=tuple(bars),
    )


def _error_plot(title: str, lines: tuple[Series, ...], limit: float | None, label: str) -> Plot:
    """``limit`` is drawn dashed."""
    values = [y for line in lines for y in line.y if math.isfinite(y)]
    values += [limit] if limit else []
    low, high = _decades(values)
    names = {10.0**e: f"1e{e}" for e in _thinned(range(low, high + 1), 6)}
    if min(values, default=1.0) <= FLOOR:
        names[10.0**low] = "0"
    places = [int(x) for line in lines for x in line.x]
    first, last = min(places), max(places)
    below = tuple((x, str(x)) for x in _thinned(range(first, last + 1), 8))
    return Plot(
        title,
        Axis(first, last, below),
        Axis(10.0**low, 10.0**high, tuple(names.items()), logarithmic=True),
        label,
        levels=(Level(limit, "limit", f"tolerance {limit:.2g}"),) if limit else (),
        series=lines,
        inset=6,
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Exponents of the powers of ten around the values, three apart at least."""
    low = math.floor(math.log10(max(min([*values, 1e-7]), FLOOR)))
    high = math.ceil(math.log10(max([*values, FLOOR])) + 0.01)
    return low, max(high, low + 3)


def _thinned(values: range, most: int) -> range:
    """Every k-th value, so that there are no more than ``most``."""
    return values[:: math.ceil(len(values) / most)]
