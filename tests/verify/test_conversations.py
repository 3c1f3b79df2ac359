"""The rung that compares prompts of every kind of conversation."""

from __future__ import annotations

import pytest

from exporter.templates.gemma4 import Variant
from exporter.templates.samples import SAMPLES
from exporter.verify.rung import Rung, Verdict
from exporter.verify.rungs.conversations import compare_prompts
from exporter.verify.sides.engine import render_in_probe
from tests.bundles import TINY_TARGET

GEMMA4 = Variant().source()
TINY = (TINY_TARGET / "chat_template.jinja").read_text(encoding="utf-8")


def figures(rung: Rung) -> dict[str, float]:
    return {figure.name: figure.value for figure in rung.figures}


@pytest.fixture(scope="module")
def engine() -> list[str]:
    """The engine's prompts with the template."""
    return render_in_probe(GEMMA4, SAMPLES)


def test_the_right_template_passes(engine: list[str]) -> None:
    rung = compare_prompts(GEMMA4, "gemma4", engine, GEMMA4)
    assert rung.verdict is Verdict.PASS
    assert figures(rung) == {
        "conversations tried": len(SAMPLES),
        "prompts that differ from the engine's": 0,
        "prompts that differ from transformers'": 0,
    }


def test_a_letter_that_differs_from_the_engine_fails(engine: list[str]) -> None:
    changed = [engine[0], engine[1] + " ", *engine[2:]]
    rung = compare_prompts(GEMMA4, "gemma4", changed, None)
    assert rung.verdict is Verdict.FAIL
    assert rung.problems[0].startswith(f"not as the engine, {SAMPLES[1].name}: character ")


def test_a_prompt_that_the_engine_refuses_fails(engine: list[str]) -> None:
    rung = compare_prompts(GEMMA4, "gemma4", ["", *engine[1:]], None)
    assert rung.verdict is Verdict.FAIL


def test_another_template_than_the_checkpoints_fails(engine: list[str]) -> None:
    """Single questions are rendered alike; system prompts with thinking, tools and results are not."""
    rung = compare_prompts(TINY, "checkpoint", render_in_probe(TINY, SAMPLES), GEMMA4)
    assert rung.verdict is Verdict.FAIL
    differing = figures(rung)["prompts that differ from transformers'"]
    assert 0 < differing < len(SAMPLES)
    assert all(problem.startswith("not as transformers, ") for problem in rung.problems)


def test_a_template_that_was_given_is_not_judged_by_the_checkpoints() -> None:
    rung = compare_prompts(TINY, "given", None, GEMMA4)
    assert rung.verdict is Verdict.PASS
    assert figures(rung)["prompts that differ from transformers'"] > 0


def test_nothing_to_compare_with_is_skipped() -> None:
    assert compare_prompts(GEMMA4, "gemma4", None, None).verdict is Verdict.SKIPPED
