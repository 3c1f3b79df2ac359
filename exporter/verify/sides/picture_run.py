"""What a bundle's graphs make of pictures in LiteRT, and how far roundings move that.

Noise is measured as for texts (see ``noise``): pictures are encoded a few times more with every colour moved
at random within one step of its patch's rounding to 8 bits. Where nothing is rounded to 8 bits, colours are
moved by less than float32 tells apart in a sum: a tower of many layers may make much of little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.verify.compare import Floats, position_errors
from exporter.verify.pictures import SamplePicture
from exporter.verify.sides.noise import MOVED_RUNS, moved_within_a_step
from exporter.verify.sides.picture_golden import Seen
from runtime_py.litert.pictures import PictureGraphs, PicturePatches

ADAPTER_RUNS, ADAPTER_STEPS = 8, 2.0
"""An adapter rounds once, and what a tower finds may have few dimensions: within one step, a rounding would
often fall as it did before."""

FLOAT_STEPS = 255 * 2.0**-22
"""Of a rounding to 8 bits; about two of a float32's."""

DIRT = 37.0
"""A colour that no picture has, for patches that are none."""


@dataclass(frozen=True)
class PictureRun:
    """One picture through the signatures for its number of tokens."""

    sample: SamplePicture
    patches: PicturePatches
    seen: Seen
    dirty: Floats | None
    """Features with other colours in the padding, ``[n, D]``; None where there is no padding."""


@dataclass(frozen=True)
class PictureNoise:
    """Relative distances from a run to runs that were moved: the largest at each soft token, ``[n]``."""

    features: Floats
    embeddings: Floats


def run_pictures(graphs: PictureGraphs, samples: Sequence[SamplePicture]) -> tuple[PictureRun, ...]:
    """Encode every picture."""
    return tuple(_run(graphs, sample) for sample in samples)


def _run(graphs: PictureGraphs, sample: SamplePicture) -> PictureRun:
    patches = sample.patches(graphs.contract.patch_size)
    features = graphs.encode(patches, sample.tokens)
    seen = Seen(features, graphs.adapt(features, sample.tokens))
    dirty = None if sample.fills else graphs.encode_padded(_soiled(graphs, sample), sample.tokens)
    return PictureRun(sample, patches, seen, dirty)


def _soiled(graphs: PictureGraphs, sample: SamplePicture) -> PicturePatches:
    clean = sample.patches(graphs.contract.patch_size)
    padded = clean.padded(sample.tokens * graphs.contract.pooling**2)
    padded.colours[len(clean.colours) :] = DIRT
    return padded


def measure_picture_noise(graphs: PictureGraphs, run: PictureRun, steps: float) -> PictureNoise:
    """Repeat a run with moved inputs; the adapter's are the features that were found, moved.

    Args:
        graphs: The bundle's.
        run: What they made of a picture that was not moved.
        steps: How far colours are moved, in steps of 8 bits: 1, or :data:`FLOAT_STEPS`.
    """
    features, embeddings = [], []
    tokens = run.sample.tokens
    for seed in range(MOVED_RUNS):
        moved = graphs.encode(moved_picture(run.patches, seed, steps), tokens)
        features.append(position_errors(moved, run.seen.features))
    for seed in range(ADAPTER_RUNS):
        source = np.random.default_rng(seed)
        found = moved_within_a_step(run.seen.features, source, ADAPTER_STEPS * steps)
        adapted = graphs.adapt(found, tokens)
        embeddings.append(position_errors(adapted, run.seen.embeddings))
    return PictureNoise(np.max(features, axis=0), np.max(embeddings, axis=0))


def moved_picture(picture: PicturePatches, seed: int, steps: float) -> PicturePatches:
    """Every colour moved at random; the tower rounds them from -1 to 1, and they are given from 0 to 1."""
    source = np.random.default_rng(seed)
    moved = (moved_within_a_step(picture.colours * 2 - 1, source, steps) + 1) / 2
    return PicturePatches(moved.astype(np.float32), picture.places)
