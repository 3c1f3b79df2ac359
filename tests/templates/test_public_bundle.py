"""Bundles with the templates of public fine-tunes answer every kind of conversation in the stock engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.templates.samples import SAMPLES
from exporter.verify.sides.engine import as_conversation, render_in_probe
from quantize.builtin_recipes import RECIPES
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import open_model
from runtime_py.reference_run import RunSettings, run_reference
from runtime_py.reply import Reply, RunResult
from tests.bundles import DRAFT_LENGTH, TINY_DRAFTER, TINY_TARGET

NEW_TOKENS = 12
THREADS = 2
SPOKEN = tuple(sample for sample in SAMPLES if not sample.name.startswith(("a picture", "a sound")))
"""Samples whose answer needs text alone."""


@pytest.fixture(scope="module")
def bundle(public_templates: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pair, float32, with the template that Unsloth gives a model that thinks."""
    folder = tmp_path_factory.mktemp("unsloth")
    target = shutil.copytree(TINY_TARGET, folder / "target")
    template = target / "chat_template.jinja"
    template.write_text(public_templates["unsloth, thinking"], encoding="utf-8")
    output = folder / "tiny.litertlm"
    pair = open_checkpoint(target), open_checkpoint(TINY_DRAFTER)
    export(*pair, output, ExportOptions(RECIPES["float32"]), render=render_in_probe)
    return output


@pytest.fixture(scope="module")
def expected(bundle: Path) -> list[Reply]:
    """The reference runtime's greedy answers."""
    with open_model(bundle, Hardware(threads=THREADS), drafting=False) as model:
        run = run_reference(model, RunSettings(0, NEW_TOKENS), [as_conversation(s) for s in SPOKEN])
    return first_replies(run)


def first_replies(run: RunResult) -> list[Reply]:
    return [replies[0] for replies in run.replies]


@pytest.mark.parametrize("mtp", [False, True])
def test_every_conversation_is_answered_as_in_the_reference_runtime(
    bundle: Path, expected: list[Reply], mtp: bool
) -> None:
    settings = EngineSettings(bundle, mtp=mtp, max_new_tokens=NEW_TOKENS, threads=THREADS)
    replies = first_replies(run_engine(settings, [as_conversation(sample) for sample in SPOKEN]))
    for sample, found, wanted in zip(SPOKEN, replies, expected, strict=True):
        if mtp:  # which may go on by a draft where the plain answer was cut
            assert found.text.startswith(wanted.text), sample.name
            assert found.decode_tokens - wanted.decode_tokens <= DRAFT_LENGTH, sample.name
        else:
            assert (found.text, found.thought) == (wanted.text, wanted.thought), sample.name
        assert found.tool_calls == wanted.tool_calls, sample.name
        assert found.decode_tokens > 0, sample.name


def test_drafting_in_the_reference_runtime_changes_nothing(
    bundle: Path, expected: list[Reply]
) -> None:
    with open_model(bundle, Hardware(threads=THREADS)) as model:
        settings = RunSettings(DRAFT_LENGTH, NEW_TOKENS)
        drafted = first_replies(
            run_reference(model, settings, [as_conversation(s) for s in SPOKEN])
        )
    assert [reply.text for reply in drafted] == [reply.text for reply in expected]


def test_the_metadata_say_what_the_template_can_do(bundle: Path) -> None:
    metadata = open_bundle(bundle).llm_metadata()
    assert metadata.supports_thinking
    assert metadata.supports_function_calling
