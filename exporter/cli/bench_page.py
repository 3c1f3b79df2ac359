"""A benchmark as one HTML file that needs nothing else."""

from __future__ import annotations

from exporter.cli import bench_tables, bench_text
from exporter.cli.bench_plot import speed_up_plot
from exporter.report.pages import render_template
from runtime_py.bench.run import Bench
from runtime_py.bench.verdict import Outcome
from runtime_py.bench.verdict_text import headline, told

LOOKS = {Outcome.PAYS: "pass", Outcome.LOSES: "fail", Outcome.EVEN: "fail"}
"""Classes of a verdict; those that conclude nothing are open."""


def render_html(found: Bench) -> str:
    """The whole page, the verdict first."""
    values = {
        "found": found,
        "look": LOOKS.get(found.verdict.outcome, "open"),
        "headline": headline(found.verdict),
        "verdict": told(found.verdict),
        "words": bench_text,
        "tables": bench_tables,
        "plot": speed_up_plot(found) if found.curve else None,
    }
    return render_template("bench.html.jinja", values)
