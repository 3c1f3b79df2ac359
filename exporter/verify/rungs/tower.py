"""Rung: our torch tower makes of pictures what unmodified transformers makes of them.

Both have the checkpoint's own weights. This says nothing about the bundle; the rung on its graphs for
pictures leans on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exporter.verify.allowed import nearest_to_limit
from exporter.verify.compare import position_errors
from exporter.verify.evidence import Evidence
from exporter.verify.rung import NO_PICTURES, Figure, Rung, Title
from exporter.verify.sides.picture_golden import Seen
from exporter.verify.sides.picture_run import FLOAT_STEPS, moved_picture
from exporter.verify.tolerances import MOST_NOISE, NOISES, TOWER
from runtime_py.litert.towers import Floats

TITLE = Title(
    "tower",
    "Our torch vision tower is transformers' tower",
    "Look at transformers' version: pip install 'mtp-export[reference]' installs one that was tested; with "
    "it, this is a bug of mtp-export that concerns every export of a tower like this.",
    needs_target=True,
    asks_transformers=True,
)

REASON = (
    "same weights, float32 on both sides, pictures padded alike: only the order of sums differs. Where more "
    f"comes of moving colours by less than float32 tells apart, {NOISES:g} times as much"
)


def judge(evidence: Evidence) -> Rung:
    """Compare every picture, padded and not."""
    if (pictures := evidence.pictures) is None:
        return TITLE.skipped(NO_PICTURES)
    if pictures.no_golden:
        return TITLE.skipped(pictures.no_golden)
    expected = pictures.ask_transformers(evidence.request.threads)
    with evidence.reporter.stage("Encoding pictures in torch", None):
        padded = [run.patches.padded(run.sample.tokens * pictures.shrink) for run in pictures.runs]
        ours = [pictures.float_tower.see(picture) for picture in padded]
        moved = [pictures.float_tower.see(moved_picture(one, 0, FLOAT_STEPS)) for one in padded]
    return compare_towers(ours, expected, moved)


def compare_towers(ours: Sequence[Seen], expected: Sequence[Seen], moved: Sequence[Seen]) -> Rung:
    """Features and embeddings of every soft token; ``moved`` is our side of pictures that were moved."""
    problems = [
        f"picture {number}: {len(mine.features)} soft tokens instead of {len(theirs.features)}"
        for number, (mine, theirs) in enumerate(zip(ours, expected, strict=True), start=1)
        if len(mine.features) != len(theirs.features)
    ]
    if problems:
        return TITLE.judged((), REASON, problems=problems)
    figures = (
        _figure("features", *([one.features for one in side] for side in (ours, expected, moved))),
        _figure(
            "embeddings", *([one.embeddings for one in side] for side in (ours, expected, moved))
        ),
        Figure("pictures compared", len(ours)),
        Figure("soft tokens compared", sum(len(mine.features) for mine in ours)),
    )
    return TITLE.judged(figures, REASON)


def _figure(
    name: str, ours: Sequence[Floats], expected: Sequence[Floats], moved: Sequence[Floats]
) -> Figure:
    """The soft token, of all pictures, that is nearest to its limit."""
    mine, theirs, other = map(np.concatenate, (ours, expected, moved))
    noise = position_errors(other, mine).clip(max=MOST_NOISE)
    return nearest_to_limit(
        f"{name}, worst soft token",
        position_errors(mine, theirs),
        np.maximum(NOISES * noise, TOWER),
    )
