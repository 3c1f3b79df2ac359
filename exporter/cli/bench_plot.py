"""The speed-up over draft lengths as an SVG file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.report.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis
from runtime_py.bench.run import Bench

STYLE = """
:root { --page: #ffffff; --ink: #1b1b1a; --soft: #62625e; --rule: #dededa; --a: #2a6fd6; --b: #c2571a; }
@media (prefers-color-scheme: dark) {
  :root { --page: #20201e; --ink: #ecece8; --soft: #a3a39c; --rule: #3a3a37; --a: #6aa5ff; --b: #f0945a; }
}
.page { fill: var(--page); }
text { fill: var(--soft); font: 12px system-ui, sans-serif; text-anchor: middle; }
text.end { text-anchor: end; } text.start { text-anchor: start; }
text.title { fill: var(--ink); font-weight: 600; font-size: 13px; text-anchor: start; }
.grid { stroke: var(--rule); } .one { stroke: var(--soft); stroke-dasharray: 6 4; }
polyline { fill: none; stroke-width: 2; }
polyline.line { stroke: var(--a); } polyline.steps { stroke: var(--b); }
circle.line { fill: var(--a); } circle.steps { fill: var(--b); }
circle.measured { fill: none; stroke: var(--ink); stroke-width: 2; }
rect.run { fill: var(--ink); }
"""

HEAD, FOOT = 46, 40
"""Room above for title and legend, below for notes."""

LINE_NAME = "each row of a verify costs the same"


def speed_up_plot(found: Bench) -> str:
    """Both estimates, the measured point ringed, and the ratios of whole runs as squares.

    Without a drafter there is nothing to draw but that sentence.
    """
    if not found.curve:
        return _svg([f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}">nothing was drafted</text>'])
    measured = [ratio for ratio in found.ratios if ratio.name.startswith("MTP on / off")]
    values = [point.line for point in found.curve] + [point.steps for point in found.curve]
    values += [ratio.median for ratio in measured]
    top = math.ceil(2 * max([*values, 1.0]) + 0.2) / 2
    y = Axis(0, top, HEIGHT - BOTTOM, TOP)
    x = Axis(1, len(found.curve), LEFT + 14, WIDTH - RIGHT - 14)
    lengths = [point.drafts for point in found.curve]
    parts = [*_grid(x, y, lengths, top), *_legend(found)]
    parts += _curve(x, y, lengths, [point.steps for point in found.curve], "steps")
    parts += _curve(x, y, lengths, [point.line for point in found.curve], "line")
    here = found.curve[min(found.draft_length, len(found.curve)) - 1]
    if here.drafts == found.draft_length:
        parts.append(
            f'<circle class="measured" cx="{x.at(here.drafts):.1f}" cy="{y.at(here.line):.1f}" r="7">'
            f"<title>measured costs and acceptance: {here.line:.2f}</title></circle>"
        )
        parts += [
            f'<rect class="run" x="{x.at(here.drafts) - 3:.1f}" y="{y.at(ratio.median) - 3:.1f}" '
            f'width="6" height="6"><title>{ratio.name}: {ratio.median:.2f}</title></rect>'
            for ratio in measured
        ]
    return _svg(parts)


def _grid(x: Axis, y: Axis, lengths: Sequence[int], top: float) -> list[str]:
    step = 0.5 if top <= 3 else 1.0
    ticks = [step * index for index in range(round(top / step) + 1)]
    parts = [
        f'<line class="{"one" if tick == 1 else "grid"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
        f'y1="{y.at(tick):.1f}" y2="{y.at(tick):.1f}"/>'
        f'<text class="end" x="{LEFT - 8}" y="{y.at(tick) + 4:.1f}">{tick:g}x</text>'
        for tick in ticks
    ]
    parts += [
        f'<text x="{x.at(length):.1f}" y="{HEIGHT - BOTTOM + 18}">{length}</text>'
        for length in lengths
    ]
    return [
        *parts,
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}">drafts per round</text>',
    ]


def _legend(found: Bench) -> list[str]:
    rows = found.draft_length + 1
    return [
        f'<text class="title" x="{LEFT}" y="-24">Speed-up over plain decoding</text>',
        f'<circle class="line" cx="{LEFT + 5}" cy="-8" r="4"/>'
        f'<text class="start" x="{LEFT + 15}" y="-4">{LINE_NAME}</text>',
        f'<circle class="steps" cx="{LEFT + 255}" cy="-8" r="4"/>'
        f'<text class="start" x="{LEFT + 265}" y="-4">a verify costs so much per {rows} rows begun'
        "</text>",
        f'<text class="start" x="{LEFT}" y="{HEIGHT + 12}">Ring: from costs and acceptance, all '
        f"measured at {found.draft_length} drafts. Squares: whole runs, both runtimes.</text>",
        f'<text class="start" x="{LEFT}" y="{HEIGHT + 28}">All else is computed from the ring\'s '
        "figures.</text>",
    ]


def _curve(
    x: Axis, y: Axis, lengths: Sequence[int], values: Sequence[float], css: str
) -> list[str]:
    points = [(x.at(a), y.at(b)) for a, b in zip(lengths, values, strict=True)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return [
        f'<polyline class="{css}" points="{path}"/>',
        *(
            f'<circle class="{css}" cx="{a:.1f}" cy="{b:.1f}" r="3"><title>{length}: {value:.2f}</title>'
            "</circle>"
            for (a, b), length, value in zip(points, lengths, values, strict=True)
        ),
    ]


def _svg(parts: Sequence[str]) -> str:
    box = f"0 {-HEAD} {WIDTH} {HEIGHT + HEAD + FOOT}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" '
        f'aria-label="Speed-up over draft lengths"><style>{STYLE}</style>'
        f'<rect class="page" x="0" y="{-HEAD}" width="{WIDTH}" height="{HEIGHT + HEAD + FOOT}"/>'
        + "".join(parts)
        + "</svg>\n"
    )
