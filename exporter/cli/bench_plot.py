"""The speed-up over draft lengths as a plot."""

from __future__ import annotations

import math

from exporter.report.plots import Axis, Level, Plot, Series, Spot
from runtime_py.bench.run import Bench

TITLE = "Speed-up over plain decoding"


def speed_up_plot(found: Bench) -> Plot:
    """Both estimates, the measured point ringed, and the ratios of whole runs as squares.

    Without a drafter there is nothing to draw but that sentence.
    """
    if not found.curve:
        return Plot(TITLE, Axis(0, 0), Axis(0, 0), notes=("nothing was drafted",), height=0)
    runs = [ratio for ratio in found.ratios if ratio.name.startswith("MTP on / off")]
    lengths = tuple(point.drafts for point in found.curve)
    line = tuple(point.line for point in found.curve)
    steps = tuple(point.steps for point in found.curve)
    top = math.ceil(2 * max(*line, *steps, *(ratio.median for ratio in runs), 1.0) + 0.2) / 2
    step = 0.5 if top <= 3 else 1.0
    ticks = (step * index for index in range(round(top / step) + 1))
    spots = []
    if found.draft_length in lengths:
        here = line[lengths.index(found.draft_length)]
        words = f"measured costs and acceptance: {here:.2f}"
        spots.append(Spot(found.draft_length, here, 7, "ring", words))
        spots += [
            Spot(found.draft_length, run.median, 3, "square", f"{run.name}: {run.median:.2f}")
            for run in runs
        ]
    return Plot(
        TITLE,
        Axis(1, len(lengths), tuple((length, str(length)) for length in lengths)),
        Axis(0, top, tuple((tick, f"{tick:g}x") for tick in ticks)),
        "drafts per round",
        levels=(Level(1, "even"),),
        series=(
            Series("each row of a verify costs the same", lengths, line),
            Series(
                f"a verify costs so much per {found.draft_length + 1} rows begun", lengths, steps
            ),
        ),
        spots=tuple(spots),
        inset=14,
        notes=(
            f"Ring: from costs and acceptance, all measured at {found.draft_length} drafts.",
            "Squares: whole runs, both runtimes. All else is computed from the ring's figures.",
        ),
    )
