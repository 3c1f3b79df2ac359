"""A plot as data: two axes, and what stands between them at values of these axes.

``parts.jinja`` draws it as SVG; colours are classes, which ``plot.css`` decides for light and dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

LEFT, RIGHT, TOP, BOTTOM = 68, 16, 22, 46
"""Room beside the grid, in pixels."""


@dataclass(frozen=True)
class Axis:
    """The values that an axis spans, and those that are written beside it."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        low, high = self.low, self.high
        if self.logarithmic:
            value = min(max(value, low), high)
            value, low, high = (math.log10(v) for v in (value, low, high))
        return (value - low) / (high - low) if high > low else 0.5


@dataclass(frozen=True)
class Series:
    """A line with a dot at each of its points; its place among the lines decides the colour."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Bar:
    """A bar that stands on the x axis, with its name above."""

    x: float
    y: float
    name: str


@dataclass(frozen=True)
class Level:
    """A dashed horizontal line; ``look`` is its class."""

    y: float
    look: str
    name: str = ""


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
    """Shown to who points at it."""
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
    height: int = 260
    inset: int = 0
    """Pixels between the ends of the x axis and those of the grid."""

    width: ClassVar = 640
    left: ClassVar = LEFT
    right: ClassVar = width - RIGHT

    @property
    def bottom(self) -> int:
        """The pixel of the x axis."""
        return self.height - BOTTOM

    def across(self, x: float) -> float:
        """The pixel of a value of the x axis."""
        begin, end = self.left + self.inset, self.right - self.inset
        return begin + self.x.share(x) * (end - begin)

    def down(self, y: float) -> float:
        """The pixel of a value of the y axis."""
        return self.bottom - self.y.share(y) * (self.bottom - TOP)
