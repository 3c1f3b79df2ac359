"""The comparison as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from exporter.compare.comparison import Comparison
from exporter.compare.figures import Quality, TensorFigures
from exporter.compare.report_text import HEADER, LEGEND, decibels, heading, rows
from exporter.compare.size_plot import TITLE, dots, size_plot
from exporter.report.page_style import STYLE

WIDER = "main { max-width: 1100px; } td, th { white-space: nowrap; } .wide { overflow-x: auto; }"


def render_html(found: Comparison) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Recipes compared</title><style>{STYLE}{WIDER}</style></head><body><main>\n"
        + "\n".join(_body(found))
        + "\n</main></body></html>\n"
    )


def _body(found: Comparison) -> Iterator[str]:
    tools = ", ".join(f"{name} {version}" for name, version in found.tools.items())
    yield f'<h1>Recipes compared</h1><p class="facts">{escape(heading(found))}<br>{escape(tools)}</p>'
    yield f'<div class="wide">{_table(HEADER, rows(found))}</div>'
    yield from (f'<p class="soft">{escape(line)}.</p>' for line in LEGEND)
    if points := dots(found):
        yield f"<h2>{TITLE}</h2><figure>{size_plot(points)}</figure>"
    yield "<h2>Tensors</h2>"
    yield from (_tensors(quality) for quality in found.qualities)


def _tensors(quality: Quality) -> str:
    worst = quality.worst(1)
    aside = f"worst: {decibels(worst[0])}, {worst[0].name}" if worst else ""
    header = ("tensor", "storage", "bits", "bytes", "signal-to-noise")
    body = [_tensor(tensor) for tensor in quality.tensors]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in quality.notes)
    return (
        f'<details><summary><span class="title">{escape(quality.recipe)}</span>'
        f'<span class="tightest">{escape(aside)}</span></summary>{notes}'
        f'<div class="wide">{_table(header, body)}</div></details>'
    )


def _tensor(tensor: TensorFigures) -> tuple[str, ...]:
    return (
        tensor.name,
        tensor.storage,
        f"{tensor.bits:.2f}",
        f"{tensor.nbytes:,}",
        decibels(tensor),
    )


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}" for cell in header)
    lines = (
        "<tr>"
        + "".join(
            f"<td{' class=number' if index else ''}>{escape(cell)}</td>"
            for index, cell in enumerate(row)
        )
        + "</tr>"
        for row in body
    )
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"
