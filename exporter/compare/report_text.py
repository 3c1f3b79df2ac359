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
    "perplexity lost",
    "same first choice",
    "drafts lost, of 100",
    "tokens/s, MTP",
    "tokens/s, plain",
)

DETAILS = (
    "recipe",
    "perplexity",
    "by reference's",
    "KL, mnat",
    "drafts accepted",
    "by position",
    "on the same text",
)

MEDIUM_LEGEND = (
    "soft tokens of a picture or a sound: those of drawn ones; how far they lie from the reference's, by "
    "their length, the median and the worst",
    "same reply: replies to questions about them that are the reference's, word for word; right: those "
    "with the right answer in them. The whole bundle replies, so what a recipe does to the text model counts",
)

LEGEND = (
    "perplexity lost: by how much perplexity rises on text as the reference writes it, from the divergence",
    "same first choice: positions of the text at which the reference's likeliest next token is the likeliest",
    "drafts lost: how many of 100 fewer are accepted than in the reference, drafted from every position of "
    "the reference's own continuations, the same text for all (on the same text: their share)",
    "tokens/s: reference runtime with drafts (MTP) and without (plain), taken in turns within a recipe; "
    "compare recipes only from a quiet machine",
    "perplexity: of the text given; KL: divergence from the reference, in thousandths of a nat a token",
    "drafts accepted: while it continues the text itself; by position: of draft 1, 2, ... of a round",
)


def summary(found: Comparison) -> Table:
    """One row for each bundle: what decides."""
    rows = (_row(one, found.lost(one)) for one in found.qualities)
    return Table(HEADER, tuple(rows))


def details(found: Comparison) -> Table:
    """One row for each bundle: all other figures of the text, and those of pictures and sounds."""
    media, known = found.media, found.knows_answers
    header = [*DETAILS, *(title for noun in media for title in _medium_header(noun, known))]
    rows = (
        (
            *_detailed(one),
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
    speed = quality.speed
    return (
        quality.recipe,
        f"{quality.nbytes / MEGA:.2f}",
        f"{quality.text.loss:.2%}",
        f"{quality.text.agreement:.2%}",
        f"{lost.value * 100:+.1f} ± {lost.error * 100:.1f}" if lost else "",
        f"{speed.speculative:.0f}" if speed.speculative else "",
        f"{speed.plain:.0f}",
    )


def _detailed(quality: Quality) -> tuple[str, ...]:
    text = quality.text
    divergence = text.divergence
    return (
        quality.recipe,
        f"{text.perplexity:.3f}",
        f"{text.perplexity_ratio:.4f}",
        f"{divergence.value * 1e3:.2f} ± {divergence.error * 1e3:.2f}",
        share(quality.drafts),
        " ".join(f"{value:.0%}" for value in quality.drafts.by_position) if quality.drafts else "",
        share(quality.paired),
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
    verdict = found.verdict
    lines = [verdict.headline, *verdict.reasons, "", heading(found)]
    for table in (summary(found), details(found)):
        lines += ["", *table.aligned()]
    lines += ["", *legend(found)]
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
    """The verdict, the tables, and the worst tensors of each recipe."""
    verdict = found.verdict
    lines = [f"# {verdict.headline}", "", *verdict.reasons, "", f"{heading(found)}."]
    for table in (summary(found), details(found)):
        lines += ["", *table.markdown()]
    lines += ["", *(f"- {line}" for line in legend(found))]
    for quality in found.qualities:
        if worst := quality.worst(WORST):
            lines += ["", f"## {quality.recipe}: lowest signal-to-noise", ""]
            header = ("signal-to-noise", "storage", "bits", "bytes", "tensor")
            lines += _tensors(header, worst).markdown()
    return "\n".join(lines) + "\n"
