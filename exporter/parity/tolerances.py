"""How far two runs that must agree may differ, and why.

Errors are relative: the length of the difference vector at one position by the length of the
reference's vector there; a rung reports its worst position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

REFERENCE = 1e-4
"""Torch against transformers: same weights, float32 on both sides, sums in another order."""

GRAPH_FLOAT = 1e-4
"""LiteRT float32 kernels against torch: same weights, sums in another order."""

SHAPES_FLOAT = 2e-5
"""The same graph with another number of tokens a call: other tiles, another order of sums."""

ROUNDED_STEP = 0.02
"""Error of one product whose activations are rounded to 8 bits: half a 255th of their range by root 3 for
an even spread. A range of six standard deviations gives 0.7 %; that of gated activations at the worst
position of a text is two or three times as wide (measured over a whole stack: up to 0.0154 a product)."""

TIPPED_STEP = 0.01
"""Distance between two products of activations that were rounded independently: root 2 times 0.7 %. With
another number of tokens a call rows round as they would alone (most positions agree to 1e-7), until a
difference in the last bit tips one activation over to the next of 255 steps; from there on each side
rounds for itself (measured over the tiny pair's whole stack: up to 0.022)."""

PRODUCTS_PER_LAYER = 4
"""Products in a row on the way through a layer: values, output, gate and up, down."""

CACHED_PER_LAYER = 2
"""Roundings on the way through a layer with int8 caches: keys, values."""

CACHED_STEP = 0.02
"""Distance between keys or values that were rounded to int8 independently. A channel's scale spans 127
steps for 1.25 times its largest magnitude on a text, some 4.5 standard deviations: a step of 0.044 of
one, a rounding error of that by root 12, and root 2 between two sides. Sides that compute the same write
the same codes, until a difference in the last bit tips one over to the next step."""

STEPS_OFF = 0.75
"""Of a stored row, as a root mean square in quantisation steps. Rounding to the nearest gives 0.29 and
never more than 0.5; roundings that make up for each other's error stay below this; a wrong scale or a
shifted row does not."""

STEPS_OFF_CALIBRATED = 4.0
"""The same where codes were chosen with a calibration text. A column then moves by several steps to make
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


QUANTISATION = {
    32: QuantisationLimits(1e-5, 1.0, 1.001),
    8: QuantisationLimits(0.05, 0.9, 1.05),
    4: QuantisationLimits(1.0, 0.6, 2.0),
    2: QuantisationLimits(None, None, None),
}
"""By the fewest bits of a matrix. Float32 has numeric noise only; int8 per row keeps a model's text;
int4 per row without calibration is known to be lossy, and the limit only tells a loss from a fault;
int2 of a model that was not trained for it may lose anything, so nothing is a fault there."""


@dataclass(frozen=True)
class GraphTolerance:
    """What LiteRT may differ by, with its reason."""

    error: float
    between_shapes: float
    reason: str
    between_shapes_reason: str


def graph_tolerance(*, quantised: bool, layers: int, int8_caches: bool = False) -> GraphTolerance:
    """Of a stack of ``layers``.

    With quantised matrices LiteRT rounds activations to 8 bits before each product and torch does
    not. Independent roundings add up like a random walk: with the root of their number. Int8 caches
    are rounded on both sides, but not alike once the sides differ by anything at all.
    """
    if not quantised and not int8_caches:
        return GraphTolerance(
            GRAPH_FLOAT,
            SHAPES_FLOAT,
            "float32 on both sides: only the order of sums differs, measured below 1e-5; "
            "any wrong term is above 1e-3",
            "the same float32 graph with another number of tokens a call sums in another order",
        )
    products = PRODUCTS_PER_LAYER * layers if quantised else 0
    cached = CACHED_PER_LAYER * layers if int8_caches else 0
    reasons, between = [], []
    if quantised:
        reasons.append(
            f"LiteRT rounds activations to 8 bits before each product, about {ROUNDED_STEP:.0%} each "
            f"time; {PRODUCTS_PER_LAYER} products in each of {layers} layers add up like a random walk"
        )
        between.append(
            "activations are rounded row by row, so a row rounds the same in any company; but a last "
            "bit may tip one over to the next of 255 steps, and from there on both sides walk, "
            f"{TIPPED_STEP:.0%} apart each time"
        )
    if int8_caches:
        tipped = (
            f"keys and values are rounded to int8; where a last bit tips one over to the next code, "
            f"both sides walk, {CACHED_STEP:.0%} apart each time, {CACHED_PER_LAYER} times a layer"
        )
        reasons.append(tipped)
        between.append(tipped)
    return GraphTolerance(
        math.hypot(ROUNDED_STEP * math.sqrt(products), CACHED_STEP * math.sqrt(cached)),
        math.hypot(TIPPED_STEP * math.sqrt(products), CACHED_STEP * math.sqrt(cached)),
        "; ".join(reasons),
        "; ".join(between),
    )


@dataclass(frozen=True)
class OnnxTolerance:
    """What ONNX Runtime may differ from LiteRT by, with its reason."""

    error: float
    reason: str


def onnx_tolerance(*, quantised: bool, layers: int) -> OnnxTolerance:
    """Of a stack of ``layers``.

    With quantised matrices both round activations to 8 bits, each in its own way: two walks that know
    nothing of each other, so the distance between their ends is root 2 times one walk's.
    """
    if not quantised:
        return OnnxTolerance(
            GRAPH_FLOAT,
            "float32 on both sides: only the order of sums differs; any wrong term is above 1e-3",
        )
    walk = graph_tolerance(quantised=True, layers=layers).error
    return OnnxTolerance(
        math.sqrt(2) * walk,
        "LiteRT rounds activations to 8 bits row by row, ONNX Runtime block by block: two independent "
        "roundings, each as large as the graphs rung allows",
    )
