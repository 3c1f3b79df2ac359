"""The report as one HTML file that needs nothing else: no script, no font, no picture from outside."""

from __future__ import annotations

from exporter.report.pages import render_template
from exporter.verify.report import Report, TokenView, near_ties
from exporter.verify.report_markdown import (
    WHAT_NOW,
    figure_table,
    near_tie_table,
    number,
    tightest,
)
from exporter.verify.report_plots import plots
from exporter.verify.rung import Verdict
from exporter.version import versions_line
from runtime_py.bench.verdict_text import told

MARKS = {Verdict.PASS: "✓ pass", Verdict.FAIL: "✗ fail", Verdict.SKIPPED: "skipped"}


def render_html(report: Report) -> str:
    """The whole page."""
    values = {
        "report": report,
        "tools": versions_line(report.tools),
        "what_now": WHAT_NOW,
        "mtp": told(report.mtp) if report.mtp else "",
        "marks": MARKS,
        "figures": plots(report),
        "near_ties": near_ties,
        "tightest": tightest,
        "figure_table": figure_table,
        "near_tie_table": near_tie_table,
        "token_words": _token_words,
    }
    return render_template("verify.html.jinja", values)


def _token_words(token: TokenView) -> str:
    """What comes up when a token is pointed at."""
    how = f"accepted draft {token.drafted}" if token.drafted else "chosen by the target"
    if token.rejected:
        how += f", where {token.rejected!r} was drafted"
    return f"{how}; margin {number(token.margin)}" + ("; near-tie" if token.near_tie else "")
