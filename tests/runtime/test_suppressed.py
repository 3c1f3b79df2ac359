"""Tokens that a checkpoint suppresses are never said: in the loop, in both runtimes and in the engine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.options import OutputFormat
from runtime_py.batch_run import run_batch
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.rounds import Cursor, Limits
from runtime_py.loop.sampling import SamplingSettings, chooser, distribution
from runtime_py.loop.speculative import Chooser, Fixed, Greedy, Speaker, generate
from runtime_py.onnx.model import open_onnx_model
from runtime_py.opened_model import open_model
from runtime_py.reference_run import RunSettings, run_reference
from runtime_py.reply import RunResult
from tests.bundles import DRAFT_LENGTH, TINY_TARGET, export_tiny, held_out_prompts
from tests.runtime.toys import DRAFTERS, ToyExecutor

WORDS = (" and", " was", " the", ".")
"""Which the tiny target says often."""

PROMPTS, NEW_TOKENS = 6, 40
BATCH, CACHE, PREFILLS = 3, 256, (128,)
"""As in ``test_batch_litert``, so that the graphs are there already."""

HARDWARE = Hardware(threads=2)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny target, told not to say some words."""
    import tokenizers

    folder = tmp_path_factory.mktemp("suppressing") / "target"
    shutil.copytree(TINY_TARGET, folder, copy_function=os.link)
    tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [tokenizer.encode(word, add_special_tokens=False).ids for word in WORDS]
    assert [len(of_word) for of_word in ids] == [1] * len(WORDS)
    generation = json.loads((folder / "generation_config.json").read_text())
    generation["suppress_tokens"] = [index for (index,) in ids]
    (folder / "generation_config.json").unlink()  # a link
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


@pytest.fixture(scope="module")
def bundle(target: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("suppressing") / "suppressing.litertlm"
    return export_tiny(
        output,
        "float32",
        target_folder=target,
        cache_length=CACHE,
        prefill_lengths=PREFILLS,
        batch=BATCH,
    )


@pytest.fixture(scope="module")
def asked() -> list[Conversation]:
    return [Conversation.asking(prompt) for prompt in held_out_prompts(PROMPTS)]


@pytest.fixture(scope="module")
def plain(bundle: Path, asked: list[Conversation]) -> list[str]:
    """What the stock engine says without drafting."""
    return engine(bundle, asked, mtp=False).texts


def engine(bundle: Path, asked: Sequence[Conversation], *, mtp: bool) -> RunResult:
    return run_engine(EngineSettings(bundle, mtp, NEW_TOKENS, threads=2), asked)


def says_none(texts: Sequence[str]) -> bool:
    return not any(word in text for text in texts for word in WORDS)


@pytest.mark.slow
def test_without_suppression_the_words_are_said(
    tiny_bundles: dict[str, Path], asked: list[Conversation]
) -> None:
    """So the tests below are about something."""
    texts = engine(tiny_bundles["float32"], asked, mtp=False).texts
    assert all(any(word in text for text in texts) for word in WORDS)


@pytest.mark.slow
def test_the_engine_with_mtp(bundle: Path, asked: list[Conversation], plain: list[str]) -> None:
    assert says_none(plain)
    assert max(map(len, plain)) > 60
    on = engine(bundle, asked, mtp=True)
    for without, with_ in zip(plain, on.texts, strict=True):  # it may overshoot by a draft
        assert with_.startswith(without)
        assert says_none([with_])


@pytest.mark.slow
@pytest.mark.parametrize("drafts", [0, 1, DRAFT_LENGTH])
def test_the_reference_runtime_says_what_the_engine_says(
    bundle: Path, asked: list[Conversation], plain: list[str], drafts: int
) -> None:
    """By single draft steps, and by the graph that drafts a round in one call."""
    with open_model(bundle, HARDWARE) as model:
        assert run_reference(model, RunSettings(drafts, NEW_TOKENS), asked).texts == plain


@pytest.mark.slow
def test_several_at_once(bundle: Path, asked: list[Conversation], plain: list[str]) -> None:
    with open_model(bundle, HARDWARE) as model:
        assert run_batch(model, RunSettings(DRAFT_LENGTH, NEW_TOKENS), asked).texts == plain


@pytest.mark.slow
def test_onnx_runtime(
    target: Path, asked: list[Conversation], plain: list[str], tmp_path: Path
) -> None:
    folder = export_tiny(
        tmp_path / "onnx", "float32", target_folder=target, output_format=OutputFormat.ONNX
    )
    with open_onnx_model(folder, 2) as model:
        for drafts in (0, DRAFT_LENGTH):
            assert run_reference(model, RunSettings(drafts, NEW_TOKENS), asked).texts == plain


@pytest.mark.slow
@pytest.mark.parametrize("drafts", [0, DRAFT_LENGTH])
def test_sampled(bundle: Path, asked: list[Conversation], drafts: int) -> None:
    """At a temperature that says any word."""
    sampling = SamplingSettings(temperature=6.0, top_k=8, seed=1)
    with open_model(bundle, HARDWARE) as model:
        run = run_reference(model, RunSettings(drafts, NEW_TOKENS, sampling), asked)
        assert says_none(run.texts)


def said(toy: ToyExecutor, choosing: Chooser, drafts: int, tokens: int) -> list[int]:
    cache = toy.new_cache()
    toy.prefill(cache, [0], 0)
    limits = Limits(tokens, frozenset(), toy.cache_length)
    rounds = generate(Speaker(toy, cache, choosing), Cursor(1, 0), limits, Fixed(drafts))
    return [token for done in rounds for token in done.tokens]


@settings(max_examples=80, deadline=None)
@given(
    drafter=st.sampled_from(sorted(DRAFTERS)),
    seed=st.integers(0, 1000),
    suppressed=st.sets(st.integers(0, 6), max_size=5),
    drafts=st.integers(0, 3),
    at_once=st.booleans(),
)
def test_any_drafter_gives_the_greedy_text_of_what_is_left(
    drafter: str, seed: int, suppressed: set[int], drafts: int, at_once: bool
) -> None:
    """A drafter that knows nothing of it included."""
    toy = ToyExecutor(seed=seed, drafts_at_once=drafts if at_once and drafts == 3 else 0)
    toy.drafter = DRAFTERS[drafter](toy)
    context = [0, 0]
    for _ in range(20):
        left = {
            i: logit for i, logit in enumerate(toy.target_logits(context)) if i not in suppressed
        }
        context.append(max(left, key=lambda token: left[token]))
    assert said(toy, Greedy(suppressed), drafts, 20) == context[2:]


@pytest.mark.parametrize("drafter", sorted(DRAFTERS))
def test_samplers_leave_them_out(drafter: str) -> None:
    toy = ToyExecutor(cache_length=400)
    toy.drafter = DRAFTERS[drafter](toy)
    hot = SamplingSettings(temperature=3.0, seed=4)
    suppressed = (0, 3, 6)
    assert set(said(toy, chooser(hot, suppressed), 3, 300)) == {1, 2, 4, 5}
    assert set(said(toy, chooser(hot), 3, 300)) == set(range(7))


def test_the_rest_share_the_probability() -> None:
    logits = np.zeros(4, dtype=np.float32)
    left = distribution(logits, SamplingSettings(top_k=2), (1, 2))
    assert left.tokens.tolist() == [0, 3]
    assert left.chances.tolist() == [0.5, 0.5]
