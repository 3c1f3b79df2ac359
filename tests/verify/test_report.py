"""The reports: what they say, and that the HTML page is one sound, self-contained file.

The page is loaded in headless Chromium where there is one; it must render without a console message.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from exporter.errors import ParityError
from exporter.report.plots import Series
from exporter.verify.ladder import TITLES
from exporter.verify.report import (
    AnswerView,
    Report,
    TokenView,
    require_parity,
)
from exporter.verify.report_html import render_html
from exporter.verify.report_markdown import number, render_markdown, render_text
from exporter.verify.rung import Bound, Figure, NearTie, Rung, Verdict
from exporter.verify.rungs.graphs import TITLE as GRAPHS
from exporter.verify.rungs.model import TITLE as MODEL
from runtime_py.bench.drafts import Drafts
from runtime_py.bench.verdict import judge
from runtime_py.loop.rounds import Acceptance
from tests.browser import CHROMIUM, in_browser

HOSTILE = '<script>alert(1)</script> & "quotes"'


def make_report(*, failing: bool) -> Report:
    error = 0.5 if failing else 1e-6
    graphs = GRAPHS.judged(
        [Figure("verify: logits", error, 1e-4), Figure("positions", 112)],
        "only the order of sums differs",
        near_ties=[NearTie("position 7", "12", "34", 1e-6, 1e-5)],
    )
    skipped = MODEL.skipped("no --target given")
    tokens = (
        TokenView("Once", 0, 3.2, False, "The"),
        TokenView(" upon", 1, 5.0, False, ""),
        TokenView(HOSTILE, 2, 1e-7, True, ""),
    )
    return Report(
        bundle="tiny.litertlm",
        nbytes=1234567,
        recipe="float32",
        accelerator="cpu",
        tools={"torch": "2.13.0"},
        notes=("the target's config.json is not the file the bundle was made from",),
        rungs=(skipped, graphs),
        acceptance=((10, 9), (10, 5), (8, 0)),
        tolerance=1e-4,
        position_errors=(Series("LiteRT, torch", (0, 1, 2), (0.0, error, math.inf)),),
        layer_errors=(Series("torch, transformers", (0, 1), (0.0, 0.0)),),
        answers=(AnswerView(HOSTILE, tokens),),
        mtp=None if failing else judge(Drafts.of([Acceptance((20,), (0,))] * 8, 1)),
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (3.0, "3"), (1234567.0, "1,234,567"), (0.25, "0.250"), (3.4e-6, "3.4e-06")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_numbers_that_are_not_finite(value: float) -> None:
    assert not Figure("error", value, 1.0).ok
    assert number(value) == str(value)


def test_figures_keep_to_their_side() -> None:
    assert Figure("error", 1.0, 1.0).ok
    assert not Figure("error", 1.1, 1.0).ok
    assert Figure("share", 0.9, 0.8, Bound.AT_LEAST).ok
    assert not Figure("share", 0.7, 0.8, Bound.AT_LEAST).ok
    assert Figure("count", 1e9).ok


def test_json_report(tmp_path: Path) -> None:
    content = json.loads(json.dumps(make_report(failing=True).to_json(), allow_nan=False))
    assert content["verdict"] == "fail"
    assert content["near_ties"] == 1
    assert content["what_now"] == [{"rung": "graphs", "advice": GRAPHS.advice}]
    assert [rung["verdict"] for rung in content["rungs"]] == ["skipped", "fail"]
    assert content["rungs"][1]["figures"][0]["limit"] == 1e-4
    assert content["acceptance"] == [[10, 9], [10, 5], [8, 0]]
    assert content["mtp"] is None


def test_text_and_markdown() -> None:
    text = render_text(make_report(failing=True))
    assert text.splitlines()[0].startswith("1 of 2 rungs failed")
    assert "verify: logits: 0.500, at most 1.0e-04" in text
    assert "near-tie, position 7" in text
    markdown = render_markdown(make_report(failing=False))
    assert "| 1 | 10 | 9 | 0.900 |" in markdown
    assert "## skip: Our torch model is transformers' model" in markdown


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
def test_a_failing_report_says_what_now(render: Callable[[Report], str]) -> None:
    """Before the rungs; a passing one has nothing to say."""
    page = unescape(render(make_report(failing=True)))
    assert page.index(GRAPHS.advice) < page.index(MODEL.text)
    assert GRAPHS.advice not in unescape(render(make_report(failing=False)))


@pytest.mark.parametrize("render", [render_text, render_html])
def test_a_passing_report_says_what_mtp_brings(render: Callable[[Report], str]) -> None:
    """In Markdown the rung about accepted drafts says it."""
    advice = "MTP does not pay, whatever a round costs: ship with MTP off"
    assert advice in unescape(render(make_report(failing=False)))
    assert advice not in unescape(render(make_report(failing=True)))


def test_every_rung_has_advice_of_its_own() -> None:
    assert len({title.advice for title in TITLES}) == len(TITLES)
    assert all(title.advice.endswith(".") for title in TITLES)


def test_parity_error_names_the_first_failure() -> None:
    require_parity(make_report(failing=False))
    with pytest.raises(ParityError, match=r"outside tolerance at graphs: verify: logits is 0\.5"):
        require_parity(make_report(failing=True))
    assert ParityError.exit_code == 3


def test_html_needs_nothing_from_outside() -> None:
    page = render_html(make_report(failing=True))
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", page)
    assert "&lt;script&gt;alert(1)" in page
    assert page.index('class="verdict fail"') < page.index('id="graphs"')


def test_html_without_plots_or_answers() -> None:
    bare = replace(
        make_report(failing=False),
        acceptance=(),
        position_errors=(),
        layer_errors=(),
        answers=(),
        rungs=(Rung("contract", "The contract", Verdict.PASS),),
    )
    page = render_html(bare)
    assert "<svg" not in page
    assert "1 of 1 rungs passed" in page


def test_html_where_no_error_is_a_number() -> None:
    """A model that computes NaN in every layer: the layers have no limit that could be drawn instead."""
    lines = (Series("torch, transformers", (0, 1), (math.nan, math.inf)),)
    assert "<svg" in render_html(replace(make_report(failing=True), layer_errors=lines))


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("failing", [False, True])
def test_html_in_a_browser(tmp_path: Path, failing: bool) -> None:
    """Rendered, not only well formed: tokens, bars and lines are there, and nothing was logged."""
    page = tmp_path / "report.html"
    page.write_text(render_html(make_report(failing=failing)), encoding="utf-8")
    done = in_browser(page, tmp_path)
    dom = done.stdout
    assert ":CONSOLE" not in done.stderr
    assert dom.count('class="bar"') == 3
    assert dom.count("<polyline") == 2
    assert 'class="tok d tie"' in dom
    assert 'class="tok rejected"' in dom
    assert "<details" in dom
    assert ('open=""' in dom) is failing
    assert f'class="verdict {"fail" if failing else "pass"}"' in dom
    assert "<script" not in dom
