"""Plots of the report: acceptance by draft position, errors on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from exporter.report.plots import LEFT, RIGHT, WIDTH, Bar, Level, Plot, Series, x_axis, y_axis
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
    width = min(72.0, 0.6 * (WIDTH - LEFT - RIGHT) / len(counts))
    bars, ticks = [], []
    for index, (drafted, accepted) in enumerate(counts):
        share, of = accepted / max(drafted, 1), f"{accepted} of {drafted}"
        words = f"draft {index + 1}: {of} accepted"
        bars.append(Bar(index + 0.5, share, width, f"{share:.0%}", words))
        ticks.append((index + 0.5, f"draft {index + 1}\n{of}"))
    return Plot(
        "Share of drafts accepted, by position in the round",
        x_axis(0, len(counts), tuple(ticks)),
        y_axis(0, 1, tuple((v / 4, f"{v * 25} %") for v in range(5))),
        bars=tuple(bars),
    )


def _error_plot(title: str, lines: tuple[Series, ...], limit: float | None, label: str) -> Plot:
    """``limit`` is drawn dashed."""
    values = [y for line in lines for y in line.y if math.isfinite(y)]
    values += [limit] if limit else []
    low, high = _decades(values)
    names = {10.0**e: f"1e{e}" for e in _thinned(range(low, high + 1), 6)}
    if min(values) <= FLOOR:
        names[10.0**low] = "0"
    places = [x for line in lines for x in line.x]
    first, last = min(places), max(places)
    below = tuple((x, str(x)) for x in _thinned(range(first, last + 1), 8))
    return Plot(
        title,
        x_axis(first, last, below, inset=6),
        y_axis(10.0**low, 10.0**high, tuple(names.items()), logarithmic=True),
        label,
        levels=(Level(limit, "limit", "tolerance", f"tolerance {limit:.2g}"),) if limit else (),
        series=lines,
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Exponents of the powers of ten around the values, three apart at least."""
    low = math.floor(math.log10(max(min([*values, 1e-7]), FLOOR)))
    high = math.ceil(math.log10(max([*values, FLOOR])) + 0.01)
    return low, max(high, low + 3)


def _thinned(values: range, most: int) -> range:
    """Every k-th value, so that there are no more than ``most``."""
    return values[:: math.ceil(len(values) / most)]
