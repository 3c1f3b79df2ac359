"""Plots as SVG text: acceptance by draft position, errors on a logarithmic scale.

Colours are classes, so that the page's style decides them for light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 22, 46
FLOOR = 1e-9
"""Errors below, and exact zeros, are drawn here; a logarithm has no zero."""

SERIES_CLASSES = ("s1", "s2", "s3", "s4")


@dataclass(frozen=True)
class Series:
    """One line of a plot."""

    name: str
    x: tuple[int, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self.low, self.high
        if self.logarithmic:
            value = min(max(value, low), high)
            value, low, high = (math.log10(v) for v in (value, low, high))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.begin + share * (self.end - self.begin)


def acceptance_plot(counts: Sequence[tuple[int, int]]) -> str:
    """Bars: the share of drafts accepted, by their position in the round."""
    shares = [accepted / drafted if drafted else 0.0 for drafted, accepted in counts]
    y = Axis(0, 1, HEIGHT - BOTTOM, TOP)
    slot = (WIDTH - LEFT - RIGHT) / max(len(counts), 1)
    width = min(72.0, 0.6 * slot)
    parts = [_grid(y, [(v / 4, f"{v * 25} %") for v in range(5)])]
    for index, (share, (drafted, accepted)) in enumerate(zip(shares, counts, strict=True)):
        middle, top = LEFT + (index + 0.5) * slot, y.at(share)
        label = f"draft {index + 1}: {accepted} of {drafted} accepted"
        parts.append(
            f'<rect class="bar" x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{HEIGHT - BOTTOM - top:.1f}" rx="3"><title>{label}</title></rect>'
            f'<text class="value" x="{middle:.1f}" y="{top - 6:.1f}">{share:.0%}</text>'
            f'<text class="tick" x="{middle:.1f}" y="{HEIGHT - BOTTOM + 18}">draft {index + 1}</text>'
            f'<text class="small" x="{middle:.1f}" y="{HEIGHT - BOTTOM + 34}">{accepted} of {drafted}'
            "</text>"
        )
    return _svg("Share of drafts accepted, by position in the round", parts)


def error_plot(lines: Sequence[Series], limit: float | None, label: str) -> str:
    """Lines of relative errors on a logarithmic scale; ``limit`` is drawn dashed."""
    values = [y for line in lines for y in line.y if math.isfinite(y)]
    values += [limit] if limit else []
    low, high = _decades(values)
    y = Axis(low, high, HEIGHT - BOTTOM, TOP, logarithmic=True)
    ends = [x for line in lines for x in line.x]
    x = Axis(min(ends), max(ends), LEFT + 6, WIDTH - RIGHT - 6)
    exponents = range(round(math.log10(low)), round(math.log10(high)) + 1)
    zeros = min(values) <= FLOOR
    names = {10.0**e: f"1e{e}" for e in _thinned(exponents)} | ({low: "0"} if zeros else {})
    parts = [_grid(y, list(names.items()))]
    parts += [
        f'<text class="tick" x="{x.at(v):.1f}" y="{HEIGHT - BOTTOM + 18}">{v}</text>'
        for v in _thinned(range(min(ends), max(ends) + 1), 8)
    ]
    parts.append(
        f'<text class="small" x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}">{escape(label)}</text>'
    )
    if limit:
        parts.append(
            f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(limit):.1f}" '
            f'y2="{y.at(limit):.1f}"><title>tolerance {limit:.2g}</title></line>'
            f'<text class="small end" x="{WIDTH - RIGHT}" y="{y.at(limit) - 5:.1f}">tolerance</text>'
        )
    parts += [_line(line, x, y, css) for line, css in zip(lines, SERIES_CLASSES, strict=False)]
    return _svg(f"Relative error by {label}", parts)


def legend(lines: Sequence[Series]) -> str:
    """Names of the lines, in their colours."""
    entries = (
        f'<span class="key {css}"></span>{escape(line.name)}'
        for line, css in zip(lines, SERIES_CLASSES, strict=False)
    )
    return f'<p class="legend">{" &nbsp; ".join(entries)}</p>'


def _line(line: Series, x: Axis, y: Axis, css: str) -> str:
    points = [(x.at(a), y.at(b)) for a, b in zip(line.x, line.y, strict=True)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    dots = "".join(
        f'<circle class="{css}" cx="{a:.1f}" cy="{b:.1f}" r="2.5"><title>{escape(line.name)}, '
        f"{position}: {value:.2g}</title></circle>"
        for (a, b), position, value in zip(points, line.x, line.y, strict=True)
    )
    return f'<polyline class="line {css}" points="{path}"/>{dots}'


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around the values."""
    low = math.floor(math.log10(max(min([*values, 1e-7]), FLOOR)))
    high = math.ceil(math.log10(max([*values, FLOOR])) + 0.01)
    return 10.0**low, 10.0 ** max(high, low + 3)


def _thinned(values: range, most: int = 6) -> Iterator[int]:
    """Every k-th value, so that there are no more than ``most``."""
    return iter(values[:: max(1, math.ceil(len(values) / most))])


def _grid(y: Axis, ticks: Sequence[tuple[float, str]]) -> str:
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(v):.1f}" y2="{y.at(v):.1f}"/>'
        f'<text class="tick end" x="{LEFT - 8}" y="{y.at(v) + 4:.1f}">{text}</text>'
        for v, text in ticks
    )


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
