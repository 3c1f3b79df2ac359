"""Which recipe to take, by what was measured, in sentences.

A recipe loses little if its divergence from the reference is at most :data:`LITTLE` and no more drafts are
rejected than :data:`FEW_LOST`, the noise of that difference granted. Of those that lose little, and are
smaller than the reference, the smallest counts; of those as large as it, within :data:`SAME_SIZE`, the one
that loses least.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporter.compare.figures import Quality

LITTLE = 0.01
"""Nats a token: one per cent of perplexity, on text as the reference writes it."""

FEW_LOST = 0.02
"""Of all drafts: with three a round, a fiftieth of a token a round."""

SAME_SIZE = 1.05
"""Sizes that differ by less decide nothing."""

ERRORS = 2
"""Standard errors that noise is taken to reach."""


@dataclass(frozen=True)
class Verdict:
    """What to take, if anything, and why."""

    recipe: str | None
    headline: str
    reasons: tuple[str, ...]


def conclude(qualities: Sequence[Quality], text: str) -> Verdict:
    """The verdict on bundles that were measured on the text of that name; the first is the reference."""
    reference, *others = qualities
    smaller = [each for each in others if each.nbytes * SAME_SIZE < reference.nbytes]
    if not smaller:
        return Verdict(
            None,
            f"Nothing smaller than {reference.recipe} to take",
            (
                f"None of the others saves bytes: the figures say how far they are from {reference.recipe}, "
                "the first, not which is better.",
            ),
        )
    good = [each for each in smaller if _loses_little(each, reference)]
    if not good:
        best = min(smaller, key=_divergence)
        headline = f"Every recipe loses much: the least is {best.recipe}, {_loss(best)}"
        advice = "Take a larger recipe, or look for one between with `mtp-export quantize-search`."
        return Verdict(
            None, headline, (*_about(best, reference), advice, _measured_on(reference, text))
        )
    limit = SAME_SIZE * min(each.nbytes for each in good)
    best = min((each for each in good if each.nbytes <= limit), key=_divergence)
    share = f"{best.nbytes / reference.nbytes:.0%} of {reference.recipe}'s bytes"
    headline = f"Take {best.recipe}: {share}, {_loss(best)}"
    why = (
        f"Of the {len(smaller)} smaller than {reference.recipe} it is the smallest that loses at most "
        f"{LITTLE:.0%} of perplexity and {FEW_LOST * 100:.0f} of 100 drafts"
        + (", and loses least of those as large." if len(good) > 1 else ".")
    )
    reasons = (
        why,
        *_about(best, reference),
        *_beside(best, smaller),
        _measured_on(reference, text),
    )
    return Verdict(best.recipe, headline, reasons)


def _divergence(quality: Quality) -> float:
    return quality.text.divergence.value


def _loses_little(quality: Quality, reference: Quality) -> bool:
    lost = quality.lost(reference)
    noise = 0.0 if lost is None or math.isnan(lost.error) else ERRORS * lost.error
    return _divergence(quality) <= LITTLE and (lost is None or lost.value - noise <= FEW_LOST)


def _loss(quality: Quality) -> str:
    return f"perplexity +{quality.text.loss:.1%}"


def _about(quality: Quality, reference: Quality) -> Iterator[str]:
    """What else is known of it."""
    text = f"{quality.recipe} has the reference's first choice at {quality.text.agreement:.1%} of positions"
    lost = quality.lost(reference)
    if lost is not None:
        text += f", and {lost.value * 100:+.1f} ± {lost.error * 100:.1f} of 100 drafts are lost"
    yield f"{text}."
    divergence = quality.text.divergence
    if divergence.value <= LITTLE < divergence.value + ERRORS * divergence.error:
        yield "Within the noise it may lose more than that: measure on a longer text."


def _beside(best: Quality, smaller: Sequence[Quality]) -> Iterator[str]:
    """What less loss costs, and what fewer bytes."""
    better = [each for each in smaller if _divergence(each) < _divergence(best)]
    if better:
        one = min(better, key=_divergence)
        yield f"{one.recipe} loses less ({_loss(one)}) in {one.nbytes / best.nbytes:.2f} times the bytes."
    fewer = [each for each in smaller if each.nbytes * SAME_SIZE < best.nbytes]
    if fewer:
        one = min(fewer, key=_divergence)
        share = f"{1 - one.nbytes / best.nbytes:.0%} of its bytes"
        yield f"{one.recipe} would save {share}, and loses {_loss(one)}."


def _measured_on(reference: Quality, text: str) -> str:
    return (
        f"Measured on {reference.text.positions:,} tokens of {text}; another text, or another model, may say "
        "otherwise. The loss is how much the perplexity of text rises that the reference writes itself."
    )
