"""How far two runs that must agree may differ, and why.

Errors are relative: the length of the difference vector at one position by the length of the
reference's vector there. A rung reports the position that is nearest to its limit, or the farthest beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE = 1e-4
"""Torch against transformers: same weights, float32 on both sides, sums in another order."""

TOWER = 2e-5
"""The torch tower against transformers', at one soft token: same weights, float32 on both sides. Measured: no
difference up to a tower of full size and 280 tokens, its projection 2e-7; 4e-6 with a LoRA adapter, which
transformers adds beside the weights and we merge."""

GRAPH_FLOAT = 1e-4
"""LiteRT float32 kernels against torch: same weights, sums in another order."""

SHAPES_FLOAT = 2e-5
"""A graph against itself with another number of tokens a call: other tiles, another order of sums."""

NOISES = 4.0
"""How many times its noise an output with roundings in it may be off, at every position; ``noise`` says
how noise is measured. The distance between two walks includes the bundle's own: d = u - v, where u is
where its roundings led it and v where those of a moved run did. In many dimensions two walks that know
nothing of each other end at right angles, so that |u| is at most |d|, whatever the number of layers, the
model and the text. In few dimensions (the logits of a text that a model is sure of) v may lie along u, and
|u| be a few times |d|. Measured (docs/parity.md): up to 1.4 for caches, hidden states and drafts, and
2.1 for logits."""

MOST_NOISE = 0.2
"""Relative noise that counts. Outputs which have nothing to do with each other are 1.4 apart, and outputs
of zero are off by 1: whatever the noise, what is allowed must stay below both."""

STEPS_OFF = 0.75
"""Of a stored row, as a root mean square in quantisation steps. Rounding to the nearest gives 0.29 and
never more than 0.5; roundings that make up for each other's error stay below this; a wrong scale or a
shifted row does not."""

STEPS_OFF_CALIBRATED = 4.0
"""``STEPS_OFF`` where codes were chosen with a calibration text. A column then moves by several steps to make
up for others that the text always has together with it (measured up to 0.8 on the tiny pair, whose
inputs are little correlated). What is wrong with a row still shows in its factor."""

GAIN_OFF = {8: 0.05, 4: 0.4, 2: 0.7}
"""How far the best factor between a stored row and the checkpoint's may be from 1, by bits. A value
near half a step may come out twice as large, so a row of mostly small int4 codes is off by so much, and
a row of int2 codes, most of which are near half a step, by more (measured 0.42). Of a row that is not the
checkpoint's the factor is near 0."""

LEAST_ACCEPTANCE = 0.02
"""Of drafts. Chance gives one in a vocabulary: a drafter that is hardly ever right is broken, or was
trained for another target."""


@dataclass(frozen=True)
class QuantisationLimits:
    """How much storing weights in few bits may cost, on average over the text; None: anything."""

    divergence: float | None
    """KL divergence from the float model, in nats."""
    agreement: float | None
    """Share of positions with the same first choice."""
    perplexity: float | None
    """Quantised by float."""


@dataclass(frozen=True)
class HalfPrecisionLimits:
    """How far float16 may be from float32 on the same graphs."""

    divergence: float
    """Mean KL divergence, in nats."""
    agreement: float
    """Share of positions with the same first choice, or with another one within reach of rounding."""
    tolerance: float
    """The largest error of a logit that counts as rounding, by the largest logit."""


HALF_PRECISION = HalfPrecisionLimits(0.01, 0.95, 0.02)
"""Measured on a software device: 7e-6 nats and 0.05 of a logit on the tiny pair. One position off costs more
than a nat; real GPUs, which may sum in float16, are given room."""

QUANTISATION = {
    32: QuantisationLimits(1e-5, 1.0, 1.001),
    8: QuantisationLimits(0.05, 0.9, 1.05),
    4: QuantisationLimits(1.0, 0.6, 2.0),
    2: QuantisationLimits(None, None, None),
}
"""By the fewest bits of a matrix. Float32 has numeric noise only; int8 per row keeps a model's text;
int4 per row without calibration is known to be lossy, and the limit only tells a loss from a fault;
int2 of a model that was not trained for it may lose anything, so nothing is a fault there."""
