"""What a bundle's graphs make of pictures and clips in LiteRT, and how far roundings move that.

Noise is measured as for texts (see ``noise``): inputs are encoded a few times more with every colour or
energy moved at random within one step of its row's rounding to 8 bits. Where nothing is rounded to 8 bits,
they are moved by less than float32 tells apart in a sum: a tower of many layers may make much of little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.verify.compare import Floats, position_errors
from exporter.verify.sides.noise import MOVED_RUNS, moved_within_a_step
from exporter.verify.sides.tower_golden import Encoded
from exporter.verify.tower_input import TowerInput
from runtime_py.litert.towers import TowerGraphs

ADAPTER_RUNS, ADAPTER_STEPS = 8, 2.0
"""An adapter rounds once, and what a tower finds may have few dimensions: within one step, a rounding would
often fall as it did before."""

FLOAT_STEPS = 255 * 2.0**-22
"""Of a rounding to 8 bits; about two of a float32's."""


@dataclass(frozen=True)
class TowerRun:
    """One picture or piece of a clip through its signatures."""

    given: TowerInput
    found: Encoded
    dirty: Floats | None
    """Features with something else in the padding, ``[n, D]``; None where there is no padding."""


@dataclass(frozen=True)
class TowerNoise:
    """Relative distances from a run to runs that were moved: the largest at each soft token, ``[n]``."""

    features: Floats
    embeddings: Floats


def run_tower(graphs: TowerGraphs, inputs: Sequence[TowerInput]) -> tuple[TowerRun, ...]:
    """Encode every input."""
    return tuple(_run(graphs, given) for given in inputs)


def encode(graphs: TowerGraphs, given: TowerInput) -> Encoded:
    """One input through encoder and adapter."""
    features = graphs.encode_inputs(given.encoder, given.arrays)
    return Encoded(features, graphs.adapt_features(given.adapter, features))


def _run(graphs: TowerGraphs, given: TowerInput) -> TowerRun:
    found = encode(graphs, given)
    if given.fills:
        return TowerRun(given, found, None)
    return TowerRun(given, found, graphs.encode_inputs(given.encoder, given.soiled().arrays))


def measure_tower_noise(graphs: TowerGraphs, run: TowerRun, steps: float) -> TowerNoise:
    """Repeat a run with moved inputs; the adapter's are the features that were found, moved.

    Args:
        graphs: The bundle's.
        run: What they made of an input that was not moved.
        steps: How far it is moved, in steps of 8 bits: 1, or :data:`FLOAT_STEPS`.
    """
    features, embeddings = [], []
    for seed in range(MOVED_RUNS):
        moved = graphs.encode_inputs(run.given.encoder, moved_input(run.given, seed, steps).arrays)
        features.append(position_errors(moved, run.found.features))
    for seed in range(ADAPTER_RUNS):
        source = np.random.default_rng(seed)
        found = moved_within_a_step(run.found.features, source, ADAPTER_STEPS * steps)
        adapted = graphs.adapt_features(run.given.adapter, found)
        embeddings.append(position_errors(adapted, run.found.embeddings))
    return TowerNoise(np.max(features, axis=0), np.max(embeddings, axis=0))


def moved_input(given: TowerInput, seed: int, steps: float) -> TowerInput:
    """Everything but the padding moved at random."""
    rows, source = given.content[: given.own] - np.float32(given.zero), np.random.default_rng(seed)
    return given.with_own(moved_within_a_step(rows, source, steps) + np.float32(given.zero))
