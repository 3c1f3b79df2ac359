"""The comparison as text: for a terminal, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.compare.comparison import Comparison
from exporter.compare.figures import (
    DraftFigures,
    Estimate,
    MediumFigures,
    Quality,
    TensorFigures,
)
from exporter.report.tables import Table

MEGA = 1e6
WORST = 3
"""Tensors shown of each recipe."""

HEADER = (
    "recipe",
    "MB",
    "perplexity",
    "by reference",
    "KL, mnat",
    "top-1",
    "accepted",
    "by position",
    "paired",
    "lost, points",
    "tokens/s",
    "plain",
)

MEDIUM_LEGEND = (
    "soft tokens of a picture or a sound: those of drawn ones; how far they lie from the reference's, by "
    "their length, the median and the worst",
    "same reply: replies to questions about them that are the reference's, word for word; right: those "
    "with the right answer in them. The whole bundle replies, so what a recipe does to the text model counts",
)

LEGEND = (
    "accepted: share of drafts while continuing the text, with its standard error; by position: of draft 1, "
    "2, ...",
    "paired: the same, drafted from every position of the reference's own continuations, equal for all "
    "recipes; lost: how much less than the reference, with the error of the difference",
    "tokens/s: reference runtime with drafts, and without (plain), taken in turns within a recipe; "
    "compare recipes only from a quiet machine",
)


def summary(found: Comparison) -> Table:
    """One row for each bundle."""
    media, known = found.media, found.knows_answers
    header = [*HEADER, *(title for noun in media for title in _medium_header(noun, known))]
    rows = (
        (
            *_row(one, found.lost(one)),
            *(cell for noun in media for cell in _medium_cells(one.medium(noun), known)),
        )
        for one in found.qualities
    )
    return Table(tuple(header), tuple(rows))


def legend(found: Comparison) -> tuple[str, ...]:
    """What the columns are."""
    return (*LEGEND, *MEDIUM_LEGEND) if found.media else LEGEND


def _medium_header(noun: str, known: bool) -> tuple[str, ...]:
    answers = ("same reply", "right") if known else ("same reply",)
    return (f"{noun}: soft tokens, median", "worst", *answers)


def _medium_cells(found: MediumFigures | None, known: bool) -> tuple[str, ...]:
    if found is None:
        return ("",) * (4 if known else 3)
    right = (_of(found.right, found.known),) if known else ()
    return (f"{found.median:.2%}", f"{found.worst:.2%}", _of(found.same, found.asked), *right)


def _of(hits: int, tries: int) -> str:
    return f"{hits} of {tries}" if tries else ""


def _row(quality: Quality, lost: Estimate | None) -> tuple[str, ...]:
    text, speed = quality.text, quality.speed
    divergence = text.divergence
    return (
        quality.recipe,
        f"{quality.nbytes / MEGA:.2f}",
        f"{text.perplexity:.3f}",
        f"{text.perplexity_ratio:.4f}",
        f"{divergence.value * 1e3:.2f} ± {divergence.error * 1e3:.2f}",
        f"{text.agreement:.2%}",
        share(quality.drafts),
        " ".join(f"{value:.0%}" for value in quality.drafts.by_position) if quality.drafts else "",
        share(quality.paired),
        f"{lost.value * 100:+.1f} ± {lost.error * 100:.1f}" if lost else "",
        f"{speed.speculative:.0f}" if speed.speculative else "",
        f"{speed.plain:.0f}",
    )


def share(drafts: DraftFigures | None) -> str:
    """``61.3 ± 0.5 %``; empty without drafts."""
    if drafts is None:
        return ""
    return f"{drafts.share.value * 100:.1f} ± {drafts.share.error * 100:.1f} %"


def decibels(tensor: TensorFigures) -> str:
    """The signal-to-noise of a tensor."""
    if tensor.snr is None or math.isinf(tensor.snr):
        return "exact"
    return f"{tensor.snr:.1f} dB"


def heading(found: Comparison) -> str:
    """What was measured on what."""
    used = found.plan
    return (
        f"{used.passages} passages of {used.length} tokens of {found.text}; the first {used.prompt} of each "
        f"continued by up to {used.new}; reference: {found.reference}"
    )


def render_text(found: Comparison) -> str:
    """For a terminal."""
    lines = [heading(found), "", *summary(found).aligned(), "", *legend(found)]
    for quality in found.qualities:
        lines += [f"note: {note}" for note in quality.notes]
        if worst := quality.worst(WORST):
            lines += ["", f"{quality.recipe}: lowest signal-to-noise"]
            lines += [f"  {line}" for line in _tensors((), worst).aligned()]
    return "\n".join(lines)


def _tensors(header: tuple[str, ...], tensors: Sequence[TensorFigures]) -> Table:
    rows = (
        (decibels(one), one.storage, f"{one.bits:.2f} bits", f"{one.nbytes:,} bytes", one.name)
        for one in tensors
    )
    return Table(header, tuple(rows))


def render_markdown(found: Comparison) -> str:
    """The table, and the worst tensors of each recipe."""
    lines = ["# Recipes compared", "", f"{heading(found)}.", "", *summary(found).markdown()]
    lines += ["", *(f"- {line}" for line in legend(found))]
    for quality in found.qualities:
        if worst := quality.worst(WORST):
            lines += ["", f"## {quality.recipe}: lowest signal-to-noise", ""]
            header = ("signal-to-noise", "storage", "bits", "bytes", "tensor")
            lines += _tensors(header, worst).markdown()
    return "\n".join(lines) + "\n"
