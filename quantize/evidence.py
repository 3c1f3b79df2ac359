"""What recipes were measured to cost, and which is recommended for that.

The figures are docs/quantisation.md's, of a pair of 10 million parameters that was not trained to be
quantised: the order of recipes carries over to large models, the figures need not. A test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What a recipe loses against float32."""

    perplexity: float
    """By float32's; 1.02 is two per cent worse."""
    divergence: float
    """KL divergence of the next token's distribution, in thousandths of a nat."""
    lost: float
    """Of 100 drafts, those that are not accepted any more; noise may make it negative."""


COSTS = {
    "float32": Cost(1.0, 0.0, 0.0),
    "int8": Cost(1.0, 0.13, 0.0),
    "int4": Cost(1.0208, 19.15, 0.9),
    "int4-clip": Cost(1.0139, 12.97, 0.4),
    "int4-gptq": Cost(1.0093, 8.49, 0.2),
    "int4-block128-clip": Cost(1.0076, 11.27, -0.1),
    "int4-block32": Cost(1.0120, 11.37, -0.2),
    "int4-block32-clip": Cost(1.0062, 8.52, -0.4),
    "int4-block32-gptq": Cost(1.0028, 5.85, -0.1),
    "mixed": Cost(1.0146, 13.71, 1.8),
    "mixed-clip": Cost(1.0074, 9.15, 1.1),
    "mixed-gptq": Cost(1.0029, 4.74, -0.1),
    "smallest": Cost(1.2194, 228.99, 1.1),
}
"""By recipe, those that were measured."""

RECOMMENDED = "mixed-clip"
"""What export and tune take unless told otherwise, because a phone wants it. Its loss is that of
int4-block32-clip within the noise, with a scale a row, whose kernels are faster than those of blocks and let
MTP gain, and a smaller drafter."""

WITH_A_TEXT = "mixed-gptq"
"""The same storages and less loss, for those who have a text like what the model will see."""

BEST_FIRST = (
    "int8",
    RECOMMENDED,
    "int4-block32-clip",
    "int4-block128-clip",
    "int4-clip",
    "smallest",
)
"""What is worth its bytes, from the least loss to the most; each is smaller than the one before it. float32
is four times int8's bytes for nothing that could be measured."""

POOR = 1.1
"""Perplexity by float32's from which on a recipe is warned of."""
