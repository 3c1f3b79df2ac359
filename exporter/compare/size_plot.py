"""Bundle size against accepted drafts, one dot for each recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from exporter.compare.comparison import Comparison
from exporter.report.pages import picture
from exporter.report.plots import TOP, Axis, Label, Plot, Spot

HEIGHT = 406
LABEL_HEIGHT, CHARACTER = 13, 6.4
"""Room that a label takes, in pixels."""

STEPS, MOST_LINES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2), 8
"""Distances between grid lines, of which the smallest is used that needs no more lines."""

TITLE = "Bundle size against drafts accepted"
SIZE = "bundle size, MB (logarithmic)"


@dataclass(frozen=True)
class Dot:
    """One recipe: its size in MB, its share of drafts accepted, and the error of its difference.

    That is the standard error of how much it differs from the reference on the same drafts.
    """

    name: str
    size: float
    share: float
    error: float


def size_plot(found: Comparison) -> Plot:
    """The bundles that draft."""
    return plot_dots(
        [
            Dot(one.recipe, one.nbytes / 1e6, one.paired.share.value, lost.error)
            for one in found.qualities
            if one.paired is not None and (lost := found.lost(one)) is not None
        ]
    )


def render_svg(found: Comparison) -> str:
    """The plot as an SVG file that needs nothing else."""
    return picture(size_plot(found))


def plot_dots(dots: Sequence[Dot]) -> Plot:
    """Shares are of paired drafts, whiskers are two standard errors to each side."""
    empty = Plot(TITLE, _size_axis(dots), _share_axis(dots), SIZE, height=HEIGHT)
    spots = (
        Spot(
            dot.size,
            dot.share,
            4.5,
            "s1",
            f"{dot.name}: {dot.size:.2f} MB, {dot.share:.1%} ± {dot.error:.1%} accepted",
            2 * dot.error,
            dot.name,
            label,
        )
        for dot, label in zip(dots, place_labels(dots, empty), strict=True)
    )
    return replace(empty, spots=tuple(spots))


def _size_axis(dots: Sequence[Dot]) -> Axis:
    """1, 1.5, 2, ... as far as they lie on the axis."""
    low = min((dot.size for dot in dots), default=1.0) / 1.15
    high = max((dot.size for dot in dots), default=2.0) * 1.3
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = (digit * 10.0**exponent for exponent in exponents for digit in (1, 1.5, 2, 3, 5, 7))
    named = tuple((tick, f"{tick:g}") for tick in ticks if low <= tick <= high)
    return Axis(low, high, named, logarithmic=True)


def _share_axis(dots: Sequence[Dot]) -> Axis:
    low = min((dot.share - 2 * dot.error for dot in dots), default=0.0)
    high = max((dot.share + 2 * dot.error for dot in dots), default=1.0)
    step = next((s for s in STEPS if (high - low) / s <= MOST_LINES), STEPS[-1])
    first, last = math.floor(low / step), math.ceil(high / step + 0.1)
    ticks = tuple((n * step, f"{n * step * 100:.3g}%") for n in range(first, last + 1))
    return Axis(first * step, last * step, ticks)


def place_labels(dots: Sequence[Dot], plot: Plot) -> Iterator[Label]:
    """A free place beside each dot, tried from near to far; the last resort is right of it."""
    pixels = [(plot.across(dot.size), plot.down(dot.share)) for dot in dots]
    taken = [(x - 5, x + 5, y) for x, y in pixels]
    for dot, (x, y) in zip(dots, pixels, strict=True):
        width = CHARACTER * len(dot.name)
        places = [
            Label(x + (-9 if end else 9), y + shift, end)
            for distance in range(8)
            for shift in {distance * LABEL_HEIGHT, -distance * LABEL_HEIGHT}
            for end in (False, True)
        ]
        label = next((place for place in places if _fits(place, width, plot, taken)), places[0])
        taken.append((*_reach(label, width), label.y))
        yield label


def _reach(label: Label, width: float) -> tuple[float, float]:
    """Where a label begins and ends, in pixels."""
    left = label.x - width if label.end else label.x
    return left, left + width


def _fits(
    label: Label, width: float, plot: Plot, taken: Sequence[tuple[float, float, float]]
) -> bool:
    left, right = _reach(label, width)
    inside = left > plot.left and right < plot.width and TOP < label.y < plot.bottom
    return inside and all(
        right < begin or left > end or abs(label.y - middle) >= LABEL_HEIGHT - 1
        for begin, end, middle in taken
    )
