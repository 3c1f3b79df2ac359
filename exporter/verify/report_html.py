"""The report as one HTML file that needs nothing else: no script, no font, no picture from outside."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from exporter.report.page_style import STYLE
from exporter.report.plots import acceptance_plot, error_plot, legend
from exporter.verify.report import AnswerView, Report, TokenView, near_ties
from exporter.verify.report_markdown import WHAT_NOW, limit, number, tightest
from exporter.verify.rung import Rung, Verdict

WORDS = {Verdict.PASS: "✓ pass", Verdict.FAIL: "✗ fail", Verdict.SKIPPED: "skipped"}


def render_html(report: Report) -> str:
    """The whole page."""
    body = "\n".join(_body(report))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.bundle)}: {escape(report.headline)}</title>"
        f"<style>{STYLE}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def _body(report: Report) -> Iterator[str]:
    yield _verdict(report)
    yield from (f'<p class="note">Note: {escape(note)}.</p>' for note in report.notes)
    yield "<h2>The ladder</h2>"
    yield (
        '<p class="soft">Each rung leans on those above it, so the first that fails says where to look. '
        "Errors are relative to the reference, at the worst position.</p>"
    )
    yield from (_rung(rung) for rung in report.rungs)
    if report.acceptance:
        yield "<h2>Accepted drafts</h2>"
        yield _figure(
            "Share of drafts accepted, by position in the round", acceptance_plot(report.acceptance)
        )
    yield from _errors(report)
    if report.answers:
        yield "<h2>Token by token</h2>"
        yield (
            '<p class="legend"><span class="tok d">accepted draft</span> &nbsp; '
            '<span class="tok">chosen by the target</span> &nbsp; '
            '<span class="tok rejected">chosen where a draft was rejected</span> &nbsp; '
            '<span class="tok tie">near-tie</span> &nbsp; hover for details</p>'
        )
        yield from (_answer(view) for view in report.answers)


def _verdict(report: Report) -> str:
    word = "fail" if report.failed else "pass"
    findings = "".join(
        f"<li><b>{escape(rung.title)}</b>: {escape(rung.summary())}<br>"
        f'<span class="advice">{escape(rung.advice)}</span></li>'
        for rung in report.failed
    )
    now = f"<h2>What now</h2><p>{WHAT_NOW}</p><ol>{findings}</ol>" if findings else ""
    tools = ", ".join(f"{name} {version}" for name, version in report.tools.items())
    return (
        f'<section class="verdict {word}"><h1>{escape(report.headline)}</h1>'
        f"{now}"
        f'<p class="facts">{escape(report.bundle)} · {report.nbytes:,} bytes · recipe '
        f"{escape(report.recipe)} · {escape(report.accelerator)}<br>{escape(tools)}</p></section>"
    )


def _rung(rung: Rung) -> str:
    opened = " open" if rung.verdict is Verdict.FAIL else ""
    count = len(rung.near_ties)
    ties = f'<span class="badge tie">{near_ties(count)}</span>' if count else ""
    aside = tightest(rung) if rung.verdict is Verdict.PASS else rung.summary()
    return (
        f'<details class="rung {rung.verdict.value}" id="{rung.key}"{opened}><summary>'
        f'<span class="badge {rung.verdict.value}">{WORDS[rung.verdict]}</span>'
        f'<span class="title">{escape(rung.title)}</span>{ties}'
        f'<span class="tightest">{escape(aside)}</span></summary>{_inside(rung)}</details>'
    )


def _inside(rung: Rung) -> str:
    parts = []
    if rung.note:
        parts.append(f"<p>{escape(rung.note)}.</p>")
    if rung.problems:
        items = "".join(f"<li>{escape(problem)}</li>" for problem in rung.problems)
        parts.append(f'<ul class="problems">{items}</ul>')
    if rung.figures:
        rows = "".join(
            f"<tr{'' if figure.ok else ' class=outside'}><td>{escape(figure.name)}</td>"
            f'<td class="number">{number(figure.value)}</td>'
            f'<td class="number">{limit(figure)}</td></tr>'
            for figure in rung.figures
        )
        parts.append(f"<table><tr><th>figure<th>value<th>tolerance</tr>{rows}</table>")
    if rung.tolerance:
        parts.append(f'<p class="soft">Tolerance: {escape(rung.tolerance)}.</p>')
    if rung.near_ties:
        rows = "".join(
            f"<tr><td>{escape(tie.where)}</td><td>{escape(tie.chosen)}</td>"
            f'<td>{escape(tie.instead_of)}</td><td class="number">{number(tie.margin)}</td>'
            f'<td class="number">{number(tie.noise)}</td></tr>'
            for tie in rung.near_ties
        )
        parts.append(
            f"<table><tr><th>near-tie<th>chosen<th>instead of<th>margin<th>noise</tr>{rows}</table>"
        )
    return "".join(parts)


def _errors(report: Report) -> Iterator[str]:
    if not report.position_errors and not report.layer_errors:
        return
    yield "<h2>Errors</h2>"
    if report.position_errors:
        plot = error_plot(report.position_errors, report.tolerance, "position in the text")
        yield _figure(
            "Relative error of the logits, by position", plot + legend(report.position_errors)
        )
    if report.layer_errors:
        plot = error_plot(report.layer_errors, None, "layer")
        yield _figure(
            "Relative error of the hidden state, by layer (worst position)",
            plot + legend(report.layer_errors),
        )


def _figure(caption: str, content: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{content}</figure>"


def _answer(view: AnswerView) -> str:
    tokens = "".join(_token(token) for token in view.tokens)
    accepted = sum(token.drafted > 0 for token in view.tokens)
    return (
        f'<div class="answer"><p class="prompt">{escape(view.prompt)}</p>'
        f'<div class="tokens">{tokens}</div>'
        f'<p class="soft">{accepted} of {len(view.tokens)} tokens were accepted drafts</p></div>'
    )


def _token(token: TokenView) -> str:
    classes = ["tok"]
    if token.drafted:
        classes.append("d")
    elif token.rejected:
        classes.append("rejected")
    if token.near_tie:
        classes.append("tie")
    how = f"accepted draft {token.drafted}" if token.drafted else "chosen by the target"
    if token.rejected:
        how += f", where {token.rejected!r} was drafted"
    title = f"{how}; margin {number(token.margin)}" + ("; near-tie" if token.near_tie else "")
    return f'<span class="{" ".join(classes)}" title="{escape(title)}">{escape(token.text)}</span>'
