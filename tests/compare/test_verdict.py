"""Which recipe a comparison says to take, and that each of its reports begins with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from html import unescape

import pytest

from exporter.compare.comparison import Comparison
from exporter.compare.figures import DraftFigures, Quality
from exporter.compare.report_html import render_html
from exporter.compare.report_text import render_markdown, render_text
from runtime_py.loop.rounds import Acceptance
from tests.compare.comparisons import (
    FLOAT32,
    INT4_CLIP,
    INT8,
    MIXED_CLIP,
    MIXED_GPTQ,
    PASSAGES,
    SMALLEST,
    comparison,
    quality,
)


@pytest.mark.parametrize(
    ("others", "taken"),
    [
        ((INT8, INT4_CLIP, MIXED_CLIP, SMALLEST), "mixed-clip"),
        ((INT8, MIXED_CLIP, MIXED_GPTQ), "mixed-gptq"),  # as large, and loses less
        ((INT8, INT4_CLIP, SMALLEST), "int8"),
        ((quality("near", 7.5, 9.9), quality("nearer", 7.8, 9.8)), "nearer"),
        ((quality("small", 7.0, 9.9), quality("nearer", 7.8, 9.8)), "small"),
        ((INT8, quality("no-drafter-left", 7.0, 1.0, hits=300)), "int8"),
    ],
)
def test_the_smallest_that_loses_little(others: tuple[Quality, ...], taken: str) -> None:
    verdict = comparison(FLOAT32, *others).verdict
    assert verdict.recipe == taken
    assert verdict.headline.startswith(f"Take {taken}: ")


def test_the_reasons_have_the_figures() -> None:
    verdict = comparison(FLOAT32, INT8, INT4_CLIP, MIXED_CLIP, SMALLEST).verdict
    assert verdict.headline == "Take mixed-clip: 17% of float32's bytes, perplexity +0.9%"
    for reason in (
        "mixed-clip has the reference's first choice at 90.0% of positions, and +1.1 ± 0.0 of 100 drafts",
        "int8 loses less (perplexity +0.0%) in 1.59 times the bytes.",
        "smallest would save 37% of its bytes, and loses perplexity +25.7%.",
        "Measured on 3,200 tokens of held_out.txt;",
    ):
        assert any(told.startswith(reason) for told in verdict.reasons), reason


def test_drafts_of_another_length_are_not_compared() -> None:
    """Of five a round more are rejected than of three, whatever the recipe."""
    five = DraftFigures.of([Acceptance((500,) * 5, (200, 90, 40, 20, 9))] * PASSAGES)
    longer = replace(MIXED_CLIP, paired=five)
    assert MIXED_CLIP.lost(FLOAT32) is not None
    assert longer.lost(FLOAT32) is None
    assert MIXED_CLIP.notes_beside(FLOAT32) == ()
    (note,) = longer.notes_beside(FLOAT32)
    assert note.startswith("it drafts 5 tokens a round and float32 1, so drafts lost are not told")


def test_noise_is_told() -> None:
    unsure = comparison(FLOAT32, quality("unsure", 7.0, 9.0, error=2)).verdict
    assert unsure.recipe == "unsure"
    assert any("Within the noise it may lose more" in reason for reason in unsure.reasons)


def test_nothing_good_enough() -> None:
    verdict = comparison(FLOAT32, INT4_CLIP, SMALLEST).verdict
    assert verdict.recipe is None
    assert verdict.headline == "Every recipe loses much: the least is int4-clip, perplexity +1.3%"
    assert any("quantize-search" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("others", [(), (quality("other", 44.0, 0.03),), (FLOAT32, FLOAT32)])
def test_nothing_smaller(others: tuple[Quality, ...]) -> None:
    assert comparison(FLOAT32, *others).verdict.headline == "Nothing smaller than float32 to take"


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
def test_reports_begin_with_it(render: Callable[[Comparison], str]) -> None:
    found = comparison(FLOAT32, INT8, MIXED_CLIP)
    page = unescape(render(found))
    places = [page.index(words) for words in (*found.verdict.reasons, "by reference's")]
    assert places == sorted(places)
    assert page.index(found.verdict.headline) < places[0]


def test_json_has_it() -> None:
    found = json.loads(json.dumps(comparison(FLOAT32, INT8, MIXED_CLIP).to_json()))
    assert found["verdict"]["recipe"] == "mixed-clip"
    assert found["qualities"][2]["loss"] == pytest.approx(0.00919, abs=1e-5)
