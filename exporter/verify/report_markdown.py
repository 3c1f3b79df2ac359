"""The report as text: for a terminal, and as Markdown."""

from __future__ import annotations

import math

from exporter.report.tables import Table
from exporter.verify.report import Report
from exporter.verify.rung import Figure, Rung, Verdict
from exporter.version import versions_line
from runtime_py.bench.verdict_text import told

MARKS = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.SKIPPED: "skip"}

WHAT_NOW = "Begin with the first: what fails below it may fail because of it."


def number(value: float) -> str:
    """A figure as a person reads it: counts whole, shares with three digits, errors as powers."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.3f}" if 1e-2 <= abs(value) < 1e4 else f"{value:.1e}"


def limit(figure: Figure) -> str:
    """What a figure must keep to; empty if nothing."""
    return "" if figure.limit is None else f"{figure.bound} {number(figure.limit)}"


def render_text(report: Report) -> str:
    """For a terminal: a line for each rung, its figures where it failed."""
    lines = [report.headline]
    lines += [f"what now, {key}: {advice}" for key, advice in report.what_now]
    lines += [f"note: {note}" for note in report.notes]
    for rung in report.rungs:
        lines.append(f"{MARKS[rung.verdict]:4}  {rung.title}{_aside(rung)}")
        if rung.verdict is Verdict.FAIL:
            lines += [f"        {problem}" for problem in rung.problems]
            lines += [
                f"        {figure.name}: {number(figure.value)}, {limit(figure)}"
                for figure in rung.failed_figures
            ]
        lines += [
            f"        near-tie, {tie.where}: {tie.chosen} for {tie.instead_of}, margin "
            f"{number(tie.margin)} within noise {number(tie.noise)}"
            for tie in rung.near_ties
        ]
    lines += [f"verdict on MTP: {told(report.mtp)}"] if report.mtp else []
    return "\n".join(lines)


def _aside(rung: Rung) -> str:
    text = rung.note if rung.verdict is Verdict.SKIPPED else tightest(rung)
    return f"  ({text})" if text and rung.verdict is not Verdict.FAIL else ""


def tightest(rung: Rung) -> str:
    """The figure that came nearest to its limit, of those that kept to it; empty if none."""
    judged = [figure for figure in rung.figures if figure.limit and figure.ok]
    if not judged:
        return ""
    worst = max(judged, key=_closeness)
    return f"{worst.name}: {number(worst.value)}, {limit(worst)}"


def _closeness(figure: Figure) -> float:
    """How near a passing figure is to its limit: 1 is at it."""
    assert figure.limit is not None
    ratio = figure.value / figure.limit
    return ratio if figure.bound == "at most" else 1 / max(ratio, 1e-9)


def figure_table(rung: Rung, outside: str = "") -> Table:
    """The figures of a rung; ``outside`` is written behind values that are outside their tolerance."""
    return Table(
        ("figure", "value", "tolerance"),
        tuple(
            (figure.name, number(figure.value) + ("" if figure.ok else outside), limit(figure))
            for figure in rung.figures
        ),
        outside=tuple(index for index, figure in enumerate(rung.figures) if not figure.ok),
    )


def near_tie_table(rung: Rung) -> Table:
    """The near-ties of a rung."""
    return Table(
        ("near-tie", "chosen", "instead of", "margin", "noise"),
        tuple(
            (tie.where, tie.chosen, tie.instead_of, number(tie.margin), number(tie.noise))
            for tie in rung.near_ties
        ),
        words=3,
    )


def render_markdown(report: Report) -> str:
    """The whole report as Markdown."""
    lines = [
        f"# {report.bundle}: {report.headline}",
        "",
        f"{report.nbytes:,} bytes, recipe {report.recipe}, on {report.accelerator}; "
        + versions_line(report.tools),
        "",
    ]
    if report.what_now:
        advice = (f"1. `{key}`: {advice}" for key, advice in report.what_now)
        lines += ["## What now", "", WHAT_NOW, "", *advice, ""]
    lines += [f"- note: {note}" for note in report.notes]
    for rung in report.rungs:
        lines += ["", f"## {MARKS[rung.verdict]}: {rung.title}", "", *_body(rung)]
    if report.acceptance:
        counts = tuple(
            (str(position), str(drafted), str(accepted), number(accepted / max(drafted, 1)))
            for position, (drafted, accepted) in enumerate(report.acceptance, start=1)
        )
        table = Table(("position", "drafted", "accepted", "share"), counts)
        lines += ["", "## Accepted drafts by position", "", *table.markdown()]
    return "\n".join(lines) + "\n"


def _body(rung: Rung) -> list[str]:
    lines = [f"{rung.note[0].upper()}{rung.note[1:]}.", ""] if rung.note else []
    lines += [f"- {problem}" for problem in rung.problems]
    if rung.figures:
        lines += figure_table(rung, " **outside**").markdown()
    if rung.tolerance:
        lines += ["", f"Tolerance: {rung.tolerance}."]
    if rung.near_ties:
        lines += ["", *near_tie_table(rung).markdown()]
    return lines
