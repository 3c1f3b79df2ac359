"""The page about a tuning: verdict first, figures right, nothing from outside, nothing run."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from exporter.cli.tune import render
from exporter.report.tables import Table
from exporter.tune.outcome import Drafting
from exporter.tune.report_html import render_html
from exporter.tune.report_plots import course, speed
from exporter.tune.report_text import figures, gain, headline, meaning
from tests.tune.outcomes import HOSTILE, STOCK, TUNED, compared, outcome

GAINED = outcome(compared(STOCK, TUNED, 0.02))


def words(page: str) -> str:
    """What a person reads."""
    body = page.split("<body>")[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_the_verdict_comes_first() -> None:
    read = words(render_html(GAINED)).strip()
    assert read.startswith(
        "The tuned drafter is right more often: 60.0% of drafts accepted, 15.5% before"
    )
    assert "+44.5 points of drafts accepted (standard error 2.0)" in read
    assert "emits 2.80 tokens, 1.47 before" in read
    assert "MTP is now 1.91 times as fast" in read
    assert "pays where a round costs less than 2.80 decodes" in read
    assert "20.0 tokens/s without MTP, 16.7 with the drafter before, 32.0 with the tuned" in read
    assert "export with --draft-length 4" in read


def test_the_terminal_begins_with_it_too() -> None:
    lines = render(GAINED).splitlines()
    assert lines[0] == headline(GAINED)
    assert any(line.startswith("general prompts: -0.6 points") for line in lines)
    assert any("expect 20.0 tokens/s without MTP" in line for line in lines)
    assert not any("tokens/s" in line for line in render(replace(GAINED, speeds=None)).splitlines())


@pytest.mark.parametrize(
    ("after", "error", "written", "said"),
    [
        (STOCK, 0.02, False, ("No gain beyond chance", "No drafter was written")),
        (TUNED, 0.3, False, ("No gain beyond chance", "within the noise")),
        (TUNED, 0.3, True, ("No gain beyond chance", "asked for with --force")),
    ],
)
def test_chance_is_no_gain(
    after: Drafting, error: float, written: bool, said: tuple[str, ...]
) -> None:
    page = render_html(outcome(compared(STOCK, after, error), written=written))
    assert 'class="verdict fail"' in page
    for part in said:
        assert part in words(page)


def test_a_drafter_that_got_worse() -> None:
    assert headline(outcome(compared(TUNED, STOCK, 0.02))).startswith(
        "The tuned drafter is right less often"
    )


def test_a_few_prompts_conclude_nothing() -> None:
    few = compared(STOCK, TUNED, 0.02, prompts=5)
    assert gain(few).endswith("paired over 5 prompts; that is too few to conclude anything")
    assert not outcome(few).gained


def test_a_drafter_that_was_never_right() -> None:
    """No tokens to divide by, no error to go by."""
    nothing = Drafting(0, 0, (0, 0, 0), (0, 0, 0), 0, 0)
    found = outcome(compared(nothing, nothing, 0.0), general=None, written=False)
    assert not found.gained
    assert any("1.00 times as fast" in sentence for sentence in meaning(found))
    assert "Not measured: --keep FILE" in words(render_html(found))


def test_figures_by_position() -> None:
    found = figures(GAINED.held_out)
    assert isinstance(found, Table)
    after = {name: now for name, _, now in found.rows}
    assert after["drafts accepted"] == "60.0%"
    assert after["draft 2, of all rounds"] == "60.0%"
    assert after["draft 2, where those before were"] == f"{600 / 780:.1%}"
    assert after["tokens a round"] == "2.80"
    assert after["lost to the head"] == "1.0%"


def test_speed_is_that_of_plain_decoding_where_a_round_costs_its_tokens() -> None:
    before, after = speed(GAINED).series
    assert (after.x[0], after.y[0]) == (1, 2.8)
    assert before.y == pytest.approx([1.465 / cost for cost in before.x])


def test_a_training_without_readings_has_no_plot() -> None:
    assert course(GAINED) is not None
    assert course(replace(GAINED, course=())) is None


def test_accepted_drafts_are_coloured() -> None:
    page = render_html(GAINED)
    answer = page.split('class="answer"')[1]
    before, after = answer.split('class="tokens"')[1:3]
    assert (before.count('"tok d"'), after.count('"tok d"')) == (1, 3)
    assert 'title="draft 3 of its round"' in after
    assert "3 of 4 tokens were accepted drafts" in answer


def test_text_of_models_is_text() -> None:
    page = render_html(GAINED)
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") == 3
    assert not re.search(r"https?://|src=|<script|@import|url\(", page)
