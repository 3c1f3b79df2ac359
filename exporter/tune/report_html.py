"""A tuning as one HTML file that needs nothing else."""

from __future__ import annotations

from exporter.report.pages import render_template
from exporter.tune import report_plots, report_text
from exporter.tune.outcome import Example, TuningOutcome


def render_html(found: TuningOutcome) -> str:
    """The whole page."""
    values = {
        "found": found,
        "text": report_text,
        "plots": report_plots,
        "sides": _sides,
    }
    return render_template("tune.html.jinja", values)


def _sides(example: Example) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    """An answer twice: its tokens, each with the number of the draft it was, or 0."""
    return tuple(
        (when, tuple(zip(example.tokens, marks, strict=True)))
        for when, marks in (("before", example.before), ("after", example.after))
    )
