"""Bundle size against accepted drafts, one dot for each recipe, as SVG.

Colours are classes: a page's style decides them; :func:`standalone` brings that style along.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from exporter.compare.comparison import Comparison
from exporter.report.page_style import STYLE
from exporter.report.plots import BOTTOM, LEFT, RIGHT, WIDTH, Axis

HEIGHT, TOP = 400, 16
LABEL_HEIGHT, CHARACTER = 13, 6.4
"""Room that a label takes, in pixels."""

STEPS, MOST_LINES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2), 8
"""Distances between grid lines, of which the smallest is used that needs no more lines."""

LABEL = "bundle size, MB (logarithmic)"
TITLE = "Bundle size against drafts accepted"


@dataclass(frozen=True)
class Dot:
    """One recipe: its size in MB, its share of drafts accepted, and the error of its difference.

    That is the standard error of how much it differs from the reference on the same drafts.
    """

    name: str
    size: float
    share: float
    error: float


@dataclass(frozen=True)
class Label:
    """Where a dot's name goes."""

    x: float
    y: float
    end: bool


def dots(found: Comparison) -> list[Dot]:
    """The bundles that draft."""
    return [
        Dot(one.recipe, one.nbytes / 1e6, one.paired.share.value, lost.error)
        for one in found.qualities
        if one.paired is not None and (lost := found.lost(one)) is not None
    ]


def size_plot(points: Sequence[Dot]) -> str:
    """The picture; shares are of paired drafts, whiskers are two standard errors to each side."""
    low = min((dot.share - 2 * dot.error for dot in points), default=0.0)
    high = max((dot.share + 2 * dot.error for dot in points), default=1.0)
    step = next((s for s in STEPS if (high - low) / s <= MOST_LINES), STEPS[-1])
    low, high = math.floor(low / step) * step, math.ceil(high / step + 0.1) * step
    y = Axis(low, high, HEIGHT - BOTTOM, TOP)
    smallest = min((dot.size for dot in points), default=1.0) / 1.15
    largest = max((dot.size for dot in points), default=2.0) * 1.3
    x = Axis(smallest, largest, LEFT, WIDTH - RIGHT, logarithmic=True)
    parts = [*_share_grid(y, low, high, step), *_size_ticks(x)]
    for dot, label in zip(points, place_labels(points, x, y), strict=True):
        parts.append(_dot(dot, label, x, y))
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}">{LABEL}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{TITLE}">{"".join(parts)}</svg>'
    )


def standalone(points: Sequence[Dot]) -> str:
    """The picture as a file of its own."""
    style = f'<style>{STYLE}</style><rect width="100%" height="100%" style="fill: var(--card)"/>'
    begin, end = size_plot(points).split(">", 1)
    return f"{begin}>{style}{end}\n"


def place_labels(points: Sequence[Dot], x: Axis, y: Axis) -> list[Label]:
    """A free place beside each dot, tried from near to far; the last resort is right of it."""
    taken: list[tuple[float, float, float]] = [
        (x.at(dot.size) - 5, x.at(dot.size) + 5, y.at(dot.share)) for dot in points
    ]
    placed = []
    for dot in points:
        width = CHARACTER * len(dot.name)
        spots = [
            Label(x.at(dot.size) + (-9 if end else 9), y.at(dot.share) + shift, end)
            for distance in range(8)
            for shift in {distance * LABEL_HEIGHT, -distance * LABEL_HEIGHT}
            for end in (False, True)
        ]
        free = [spot for spot in spots if _fits(spot, width, taken)]
        spot = free[0] if free else spots[0]
        left = spot.x - width if spot.end else spot.x
        taken.append((left, left + width, spot.y))
        placed.append(spot)
    return placed


def _fits(spot: Label, width: float, taken: Sequence[tuple[float, float, float]]) -> bool:
    left = spot.x - width if spot.end else spot.x
    inside = left > LEFT and left + width < WIDTH and TOP < spot.y < HEIGHT - BOTTOM
    return inside and all(
        left + width < begin or left > end or abs(spot.y - middle) >= LABEL_HEIGHT - 1
        for begin, end, middle in taken
    )


def _dot(dot: Dot, label: Label, x: Axis, y: Axis) -> str:
    at, side = x.at(dot.size), "end" if label.end else "start"
    words = f"{dot.name}: {dot.size:.2f} MB, {dot.share:.1%} ± {dot.error:.1%} accepted"
    return (
        f'<g><title>{escape(words)}</title><line class="line s1" x1="{at:.1f}" x2="{at:.1f}" '
        f'y1="{y.at(dot.share - 2 * dot.error):.1f}" y2="{y.at(dot.share + 2 * dot.error):.1f}"/>'
        f'<circle class="s1" cx="{at:.1f}" cy="{y.at(dot.share):.1f}" r="4.5"/>'
        f'<text style="text-anchor: {side}" x="{label.x:.1f}" y="{label.y + 4:.1f}">'
        f"{escape(dot.name)}</text></g>"
    )


def _share_grid(y: Axis, low: float, high: float, step: float) -> list[str]:
    count = round((high - low) / step)
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(value):.1f}" '
        f'y2="{y.at(value):.1f}"/><text class="end" x="{LEFT - 8}" y="{y.at(value) + 4:.1f}">'
        f"{value * 100:.3g}%</text>"
        for value in (low + step * index for index in range(count + 1))
    ]


def _size_ticks(x: Axis) -> list[str]:
    """1, 2, 5, 10, ... as far as they lie on the axis."""
    exponents = range(math.floor(math.log10(x.low)), math.ceil(math.log10(x.high)) + 1)
    ticks = (digit * 10.0**exponent for exponent in exponents for digit in (1, 1.5, 2, 3, 5, 7))
    return [
        f'<text x="{x.at(tick):.1f}" y="{HEIGHT - BOTTOM + 18}">{tick:g}</text>'
        for tick in ticks
        if x.low <= tick <= x.high
    ]
