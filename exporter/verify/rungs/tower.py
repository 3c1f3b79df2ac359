"""Rung: our torch towers make of pictures and sounds what unmodified transformers makes of them.

Both have the checkpoint's own weights. This says nothing about the bundle; the rungs on its graphs for
pictures and sounds lean on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from exporter.verify.allowed import nearest_to_limit
from exporter.verify.compare import position_errors
from exporter.verify.evidence import Evidence
from exporter.verify.medium_evidence import MediumEvidence
from exporter.verify.rung import NO_TOWER, Figure, Rung, Title
from exporter.verify.sides.tower_golden import Encoded
from exporter.verify.sides.tower_run import FLOAT_STEPS, moved_input
from exporter.verify.tolerances import MOST_NOISE, NOISES, TOWER
from runtime_py.chat.media import Medium
from runtime_py.litert.towers import Floats

TITLE = Title(
    "tower",
    "Our torch towers for pictures and sounds are transformers' towers",
    "Look at transformers' version: the extra reference installs one that was tested; with "
    "it, this is a bug of mtp-export that concerns every export of a tower like this.",
    needs_target=True,
    asks_transformers=True,
)

REASON = (
    "same weights, float32 on both sides, padded alike: only the order of sums differs. Where more comes of "
    f"moving inputs by less than float32 tells apart, {NOISES:g} times as much"
)


@dataclass(frozen=True)
class TowerSides:
    """What both sides make of the samples for one tower."""

    medium: Medium
    ours: Sequence[Encoded]
    expected: Sequence[Encoded]
    moved: Sequence[Encoded]
    """Our side of samples that were moved."""

    @property
    def problems(self) -> list[str]:
        """Samples of another number of soft tokens."""
        return [
            f"{self.medium.noun} {number}: {len(mine.features)} soft tokens instead of "
            f"{len(theirs.features)}"
            for number, (mine, theirs) in enumerate(zip(self.ours, self.expected, strict=True), 1)
            if len(mine.features) != len(theirs.features)
        ]

    def figures(self) -> Iterator[Figure]:
        """Features and embeddings of every soft token."""
        noun, sides = self.medium.noun, (self.ours, self.expected, self.moved)
        features = ([one.features for one in side] for side in sides)
        embeddings = ([one.embeddings for one in side] for side in sides)
        yield _figure(f"features of {noun}s", *features)
        yield _figure(f"embeddings of {noun}s", *embeddings)
        yield Figure(f"{noun}s compared", len(self.ours))
        yield Figure(f"soft tokens of {noun}s", sum(len(mine.features) for mine in self.ours))


def judge(evidence: Evidence) -> Rung:
    """Compare every sample, padded and not."""
    if not evidence.media:
        return TITLE.skipped(NO_TOWER)
    sides, notes = [], []
    for medium in evidence.media:
        if medium.no_golden:
            notes.append(f"{medium.plural} are not compared: {medium.no_golden}")
        else:
            sides.append(_sides(evidence, medium))
    if not sides:
        return TITLE.skipped("; ".join(notes))
    return compare_towers(sides, "; ".join(notes))


def _sides(evidence: Evidence, medium: MediumEvidence) -> TowerSides:
    expected = medium.ask_transformers(evidence.request.threads)
    with evidence.reporter.stage(f"Encoding {medium.plural} in torch", None):
        given, tower = [run.given for run in medium.runs], medium.float_tower
        ours = [tower.both(one) for one in given]
        moved = [tower.both(moved_input(one, 0, FLOAT_STEPS)) for one in given]
    return TowerSides(medium.kind.medium, ours, expected, moved)


def compare_towers(towers: Sequence[TowerSides], note: str = "") -> Rung:
    """Every tower's sides."""
    if problems := [problem for tower in towers for problem in tower.problems]:
        return TITLE.judged((), REASON, problems=problems, note=note)
    figures = [figure for tower in towers for figure in tower.figures()]
    return TITLE.judged(figures, REASON, note=note)


def _figure(
    name: str, ours: Sequence[Floats], expected: Sequence[Floats], moved: Sequence[Floats]
) -> Figure:
    """The soft token, of all samples, that is nearest to its limit."""
    mine, theirs, other = map(np.concatenate, (ours, expected, moved))
    noise = position_errors(other, mine).clip(max=MOST_NOISE)
    return nearest_to_limit(
        f"{name}, worst soft token",
        position_errors(mine, theirs),
        np.maximum(NOISES * noise, TOWER),
    )
