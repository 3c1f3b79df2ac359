"""The comparison as one HTML file that needs nothing else."""

from __future__ import annotations

from exporter.compare.comparison import Comparison
from exporter.compare.figures import Quality
from exporter.compare.report_text import decibels, details, heading, legend, summary
from exporter.compare.size_plot import size_plot
from exporter.report.pages import render_template
from exporter.report.tables import Table
from exporter.version import versions_line


def render_html(found: Comparison) -> str:
    """The whole page."""
    plot = size_plot(found)
    values = {
        "verdict": found.verdict,
        "heading": heading(found),
        "tools": versions_line(found.tools),
        "summary": summary(found),
        "details": details(found),
        "legend": legend(found),
        "plot": plot if plot.spots else None,
        "qualities": found.qualities,
        "decibels": decibels,
        "tensors": _tensors,
    }
    return render_template("compare.html.jinja", values)


def _tensors(quality: Quality) -> Table:
    """Every tensor of a bundle."""
    rows = (
        (one.name, one.storage, f"{one.bits:.2f}", f"{one.nbytes:,}", decibels(one))
        for one in quality.tensors
    )
    return Table(("tensor", "storage", "bits", "bytes", "signal-to-noise"), tuple(rows))
