"""The page of a benchmark: the verdict first, all tables of the terminal, nothing from outside."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from exporter.cli import bench_tables
from exporter.cli.bench_page import render_html
from exporter.cli.bench_text import render
from runtime_py.bench.verdict import MtpVerdict, Outcome
from runtime_py.bench.verdict_text import told
from tests.runtime.benches import bench


@pytest.mark.parametrize(
    ("gain", "look", "headline"),
    [
        (1.82, "pass", "MTP pays: 1.82 times as fast as plain decoding"),
        (0.6, "fail", "MTP does not pay: 0.60 times as fast as plain decoding"),
        (1.01, "fail", "MTP makes no difference: 1.01 times as fast as plain decoding"),
    ],
)
def test_the_verdict_comes_first(gain: float, look: str, headline: str) -> None:
    found = bench(gain)
    page = unescape(render_html(found))
    assert (
        f'<section class="verdict {look}"><h1>{headline}</h1>\n<p>{told(found.verdict)}</p>' in page
    )
    assert page.index("<h1>") < page.index("<table")


def test_what_concludes_nothing_is_open() -> None:
    page = render_html(replace(bench(1.5), verdict=MtpVerdict(Outcome.TOO_FEW)))
    assert 'class="verdict open"><h1>Open whether MTP pays: too few prompts</h1>' in page


def test_all_tables_are_on_it() -> None:
    found = bench(1.82, notes=("2 answers <differ>",))
    page, text = render_html(found), render(found)
    tables = (bench_tables.sides, bench_tables.ratios, bench_tables.positions, bench_tables.curve)
    for make in (*tables, bench_tables.costs):
        table = make(found)
        assert table is not None
        assert table.rows
        assert "\n".join(table.aligned()) in text
        for row in table.rows:
            for cell in row:
                assert f">{cell}</td>" in page
    assert "Note: 2 answers &lt;differ&gt;." in page
    assert not re.search(r"https?://|src=|<script|@import|url\(", page)


def test_without_a_drafter_there_are_no_drafts_to_show() -> None:
    plain = replace(
        bench(1), ratios=(), acceptance=None, curve=(), verdict=MtpVerdict(Outcome.NO_DRAFTER)
    )
    page = render_html(plain)
    assert "<h1>Open whether MTP pays: no drafter</h1>" not in page
    assert "<h1>No drafter: MTP cannot be used</h1>" in page
    assert "<svg" not in page
