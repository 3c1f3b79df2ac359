"""A plot as data: two axes, and what stands between them at values of these axes.

``parts.jinja`` draws it as SVG; colours are classes, which ``plot.css`` decides for light and dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 22, 46
"""Room beside the grid, in pixels."""


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels; ``ticks`` are the values that are written beside it."""

    low: float
    high: float
    begin: float
    end: float
    ticks: tuple[tuple[float, str], ...] = ()
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self.low, self.high
        if self.logarithmic:
            value = min(max(value, low), high)
            value, low, high = (math.log10(v) for v in (value, low, high))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.begin + share * (self.end - self.begin)


@dataclass(frozen=True)
class Series:
    """A line with a dot at each of its points; its place among the lines decides the colour."""

    name: str
    x: tuple[int, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Bar:
    """A bar that stands on the x axis; ``words`` come up when it is pointed at."""

    x: float
    y: float
    width: float
    name: str
    words: str


@dataclass(frozen=True)
class Level:
    """A dashed horizontal line; ``look`` is its class."""

    y: float
    look: str
    name: str = ""
    words: str = ""


@dataclass(frozen=True)
class Label:
    """Where a name is written: the place of its end, or of its start, in pixels."""

    x: float
    y: float
    end: bool


@dataclass(frozen=True)
class Spot:
    """A dot, ring or square, as its class ``look`` says; ``whisker`` is a line so far up and down from it."""

    x: float
    y: float
    radius: float
    look: str
    words: str
    whisker: float = 0.0
    name: str = ""
    label: Label | None = None


@dataclass(frozen=True)
class Plot:
    """What is drawn, in the order of the fields. ``notes`` are lines below a picture that stands alone."""

    title: str
    x: Axis
    y: Axis
    x_label: str = ""
    levels: tuple[Level, ...] = ()
    bars: tuple[Bar, ...] = ()
    series: tuple[Series, ...] = ()
    spots: tuple[Spot, ...] = ()
    notes: tuple[str, ...] = ()
    height: float = HEIGHT

    width: ClassVar = WIDTH
    left: ClassVar = LEFT
    right: ClassVar = WIDTH - RIGHT

    @property
    def bottom(self) -> float:
        """Where the x axis lies."""
        return self.height - BOTTOM


def x_axis(
    low: float,
    high: float,
    ticks: tuple[tuple[float, str], ...],
    *,
    inset: float = 0,
    logarithmic: bool = False,
) -> Axis:
    """The axis below a plot; nothing is drawn in its first and last ``inset`` pixels."""
    return Axis(low, high, LEFT + inset, WIDTH - RIGHT - inset, ticks, logarithmic)


def y_axis(
    low: float,
    high: float,
    ticks: tuple[tuple[float, str], ...],
    *,
    height: float = HEIGHT,
    logarithmic: bool = False,
) -> Axis:
    """The axis left of a plot, upwards."""
    return Axis(low, high, height - BOTTOM, TOP, ticks, logarithmic)
