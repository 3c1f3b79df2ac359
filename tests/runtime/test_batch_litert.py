"""Bundles exported with ``--batch``: several prompts at once give the tokens they give one by one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.reader import open_bundle
from exporter.bundle.stored_contract import parsed_contract
from exporter.contract.names import BATCH_DECODE, Section
from exporter.errors import BundleError, EngineError
from runtime_py.batch_run import run_batch
from runtime_py.chat.conversation import Conversation, Message
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.batch_executor import BatchLitertExecutor
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.batch_executor import Feed
from runtime_py.loop.sampling import SamplingSettings
from runtime_py.opened_model import AUTO, DraftLength, OpenedModel, open_model
from runtime_py.prompt import ContextFullError
from runtime_py.reference_run import RunSettings, run_reference
from runtime_py.reply import RunResult
from runtime_py.same_text import ReplyLimits, same_text
from tests.bundles import DRAFT_LENGTH, TINY_DRAFTER, export_tiny, held_out_prompts
from tests.command import Done, run

pytestmark = pytest.mark.slow

HARDWARE = Hardware(threads=2)
CACHE, PREFILLS = 256, (128,)
"""Of both, the graphs for one sequence are shipped."""
BATCHES = (3, 2)
NEW_TOKENS = 32
NOISE = 0.6
"""Added to the drafter's matrices, by their own spread: it is then right about half of the time."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The tiny pair by batch."""
    folder = tmp_path_factory.mktemp("batch")
    return {batch: export_batch(folder / f"{batch}.litertlm", batch) for batch in BATCHES}


def export_batch(output: Path, batch: int, drafter: Path = TINY_DRAFTER) -> Path:
    return export_tiny(
        output,
        "float32",
        cache_length=CACHE,
        prefill_lengths=PREFILLS,
        batch=batch,
        drafter_folder=drafter,
    )


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenedModel]:
    """The tiny target with a drafter that is often wrong, at some places and not at others."""
    from safetensors.torch import load_file, save_file
    from torch import Generator, randn

    folder = tmp_path_factory.mktemp("unsure")
    drafter, source = folder / "drafter", Generator().manual_seed(3)
    shutil.copytree(TINY_DRAFTER, drafter)
    tensors = load_file(drafter / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dim() == 2 and "layers" in name:
            spread = NOISE * tensor.float().std()
            noise = spread * randn(tensor.shape, generator=source)
            tensors[name] = (tensor.float() + noise).to(tensor.dtype)
    save_file(tensors, drafter / "model.safetensors", {"format": "pt"})
    with open_model(export_batch(folder / "unsure.litertlm", 3, drafter), HARDWARE) as model:
        yield model


@pytest.fixture(scope="module", params=BATCHES)
def model(request: pytest.FixtureRequest, bundles: dict[int, Path]) -> Iterator[OpenedModel]:
    with open_model(bundles[request.param], HARDWARE) as opened:
        yield opened


def questions() -> list[Conversation]:
    """Of a word, of a sentence, and longer than two prefills and the window; one with a history."""
    prompts = held_out_prompts(9)
    long = " ".join(prompts[:4])
    history = (Message("user", prompts[0]), Message("assistant", "Yes."))
    single = [Conversation.asking(text) for text in ("Hi", *prompts[:5], long, *prompts[5:])]
    return [*single, Conversation((prompts[1],), history)]


def assert_same(together: RunResult, one_by_one: RunResult) -> None:
    assert together.texts == one_by_one.texts
    pairs = zip(together.replies, one_by_one.replies, strict=True)
    for (ours,), (theirs,) in pairs:
        assert ours.decode_tokens == theirs.decode_tokens
        assert ours.prefill_tokens == theirs.prefill_tokens
        assert ours.context_tokens == theirs.context_tokens


@pytest.mark.parametrize("drafts", [0, 1, DRAFT_LENGTH])
def test_together_as_one_by_one(drafts: int, model: OpenedModel) -> None:
    settings = RunSettings(drafts, NEW_TOKENS)
    together = run_batch(model, settings, questions())
    one_by_one = run_reference(model, settings, questions())
    assert_same(together, one_by_one)
    assert together.acceptance == one_by_one.acceptance


def test_adaptive_drafting_changes_no_token(model: OpenedModel) -> None:
    together = run_batch(model, RunSettings(AUTO, NEW_TOKENS), questions())
    assert together.texts == run_reference(model, RunSettings(0, NEW_TOKENS), questions()).texts


@pytest.mark.parametrize("drafts", [0, DRAFT_LENGTH])
def test_each_sequence_accepts_its_own_drafts(drafts: DraftLength, unsure: OpenedModel) -> None:
    settings = RunSettings(drafts, NEW_TOKENS)
    together = run_batch(unsure, settings, questions())
    one_by_one = run_reference(unsure, settings, questions())
    assert_same(together, one_by_one)
    assert together.acceptance == one_by_one.acceptance
    if drafts:
        assert together.acceptance.rate is not None
        assert 0.2 < together.acceptance.rate < 0.8
        plain = run_reference(unsure, RunSettings(0, NEW_TOKENS), questions())
        assert together.texts == plain.texts


def test_sampled_sequences_are_those_sampled_alone(unsure: OpenedModel) -> None:
    sampling = SamplingSettings(temperature=3.0, seed=11)
    settings = RunSettings(DRAFT_LENGTH, NEW_TOKENS, sampling)
    together = run_batch(unsure, settings, questions())
    assert_same(together, run_reference(unsure, settings, questions()))
    assert together.texts != run_reference(unsure, RunSettings(0, NEW_TOKENS), questions()).texts


@pytest.mark.parametrize("together", [1, 2])
def test_fewer_than_the_bundle_can(together: int, unsure: OpenedModel) -> None:
    settings = RunSettings(DRAFT_LENGTH, NEW_TOKENS)
    found = run_batch(unsure, settings, questions(), together=together)
    assert found.texts == run_reference(unsure, settings, questions()).texts


def test_answers_end_at_the_end_of_the_context(unsure: OpenedModel) -> None:
    """Some are cut off by it while others go on; the last slots are decoded, not verified."""
    for drafts in (0, DRAFT_LENGTH):
        settings = RunSettings(drafts, CACHE, context_length=64)
        short = sorted(held_out_prompts(12), key=len)[:5]
        asked = [Conversation.asking(text) for text in ("Hi", *short)]
        found = run_batch(unsure, settings, asked)
        assert_same(found, run_reference(unsure, settings, asked))
        assert max(reply.context_tokens for (reply,) in found.replies) == 64


def test_the_cache_length_is_chosen_at_load(bundles: dict[int, Path]) -> None:
    settings = RunSettings(DRAFT_LENGTH, NEW_TOKENS)
    for slots in (CACHE - 56, 2 * CACHE):
        with open_model(bundles[3], HARDWARE, cache_length=slots) as resized:
            found = run_batch(resized, settings, questions()[:5])
            assert_same(found, run_reference(resized, settings, questions()[:5]))


def test_rows_without_a_sequence_harm_nothing(unsure: OpenedModel) -> None:
    """Calls for one sequence, up to the last slot, leave the cache of another as it is."""
    executor = BatchLitertExecutor(unsure.executor)
    caches = [executor.new_cache() for _ in range(2)]
    for cache in caches:
        executor.prefill(cache, [5, 6, 7], 0)
    before = unsure.executor.read_cache(caches[1])
    for position in range(CACHE - 10, CACHE - DRAFT_LENGTH):
        executor.verify([Feed(caches[0], (1, 2, 3, 4), position)])
    executor.decode([Feed(caches[0], (1,), CACHE - 1)])
    after = unsure.executor.read_cache(caches[1])
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_row_makes_no_difference(unsure: OpenedModel) -> None:
    """The same tokens in every row, at positions of their own, give what ``verify`` gives alone."""
    single, executor = unsure.executor, BatchLitertExecutor(unsure.executor)
    tokens, starts = tuple(range(20, 24)), (70, 3, 150)
    caches = [executor.new_cache() for _ in starts]
    text = [5 + n % 40 for n in range(max(starts))]
    expected = []
    for cache, start in zip(caches, starts, strict=True):
        executor.prefill(cache, text[:start], 0)
        expected.append(single.verify(cache, tokens, start).logits.copy())
    feeds = [Feed(*fed) for fed in zip(caches, [tokens] * len(starts), starts, strict=True)]
    for step, alone in zip(executor.verify(feeds), expected, strict=True):
        assert step.logits == pytest.approx(alone, rel=1e-4, abs=1e-4)
    for one, other in pairwise(expected):
        assert np.abs(one - other).max() > 0.01  # the positions do make one


def test_the_stock_engine_runs_such_a_bundle(model: OpenedModel, bundles: dict[int, Path]) -> None:
    bundle = bundles[model.executor.contract.batch]
    asked = [Conversation.asking(text) for text in held_out_prompts(4)]
    ours = run_batch(model, RunSettings(DRAFT_LENGTH, NEW_TOKENS), asked)
    limits = ReplyLimits(NEW_TOKENS, CACHE, DRAFT_LENGTH)
    for mtp in (False, True):
        engine = run_engine(EngineSettings(bundle, mtp, NEW_TOKENS, threads=2), asked)
        pairs = zip(ours.replies, engine.replies, strict=True)
        assert all(same_text(mine, theirs, limits) for (mine,), (theirs,) in pairs)


def test_what_the_bundle_says(bundles: dict[int, Path]) -> None:
    for batch, path in bundles.items():
        inspection = inspect_bundle(path)
        assert inspection.contract is not None
        assert inspection.contract.batch == batch
        assert not inspection.problems


def test_a_manifest_from_before_batches_means_one(bundles: dict[int, Path]) -> None:
    manifest = open_bundle(bundles[3]).manifest()
    assert manifest is not None
    block = manifest["contract"]
    assert parsed_contract(block).batch == 3
    older = {key: value for key, value in block.items() if key != "batch"}
    assert parsed_contract(older) == replace(parsed_contract(block), batch=1)


def test_without_drafting_the_drafter_is_left_out(bundles: dict[int, Path]) -> None:
    with open_model(bundles[3], HARDWARE, drafting=False) as plain:
        settings = RunSettings(AUTO, NEW_TOKENS)
        found = run_batch(plain, settings, questions())
        assert not found.acceptance.drafted
        assert_same(found, run_reference(plain, settings, questions()))


def test_batch_signatures_without_a_drafter(bundles: dict[int, Path]) -> None:
    agreed = inspect_bundle(bundles[3]).contract
    assert agreed is not None
    plain = replace(agreed, drafter_donors=(), draft_length=0)
    assert plain.batch_signatures()[Section.PREFILL_DECODE].keys() == {BATCH_DECODE}
    assert not plain.batch_signatures()[Section.MTP_DRAFTER]
    assert not any(replace(agreed, batch=1).batch_signatures().values())


def test_what_a_batch_refuses(tiny_bundles: dict[str, Path], unsure: OpenedModel) -> None:
    settings, prompt = RunSettings(0, 4), held_out_prompts(1)[0]
    with (
        open_model(tiny_bundles["float32"], HARDWARE) as single,
        pytest.raises(BundleError, match="--batch N"),
    ):
        run_batch(single, settings, questions())
    with pytest.raises(EngineError, match="found 2"):
        run_batch(unsure, settings, [Conversation((prompt, prompt))])
    with pytest.raises(ContextFullError):
        run_batch(unsure, settings, [Conversation.asking(prompt * 40)])


def generate(bundle: Path, *arguments: str | Path) -> Done:
    return run("generate", bundle, *arguments)


def test_generate_answers_a_file_of_prompts(bundles: dict[int, Path], tmp_path: Path) -> None:
    """The same output however many are answered at once, in the order of the prompts."""
    file, prompts = tmp_path / "prompts.txt", held_out_prompts(5)
    file.write_text("\n".join(prompts))
    asked = ("--prompts", file, "--runtime", "reference", "--max-new-tokens", "30")
    done = [generate(bundles[3], *asked, "--batch", batch) for batch in ("1", "2", "3")]
    assert [one.returncode for one in done] == [0, 0, 0], done[0].stderr
    assert len({one.stdout for one in done}) == 1
    answers = done[0].stdout.split("\n\n")
    assert [answer.split("\n")[0] for answer in answers] == [f"==> {p} <==" for p in prompts]
    found = generate(bundles[3], *asked, "--mtp", "off", "--json")
    replies = json.loads(found.stdout)["off"]["replies"]
    assert [reply["text"] for (reply,) in replies] == [a.split("\n")[1] for a in answers]


def test_generate_refuses_a_batch_that_cannot_be(bundles: dict[int, Path]) -> None:
    more = generate(bundles[3], "-p", "x", "--runtime", "reference", "--batch", "4")
    assert more.returncode == 1
    assert "export it with --batch 4" in more.stderr
    engine = generate(bundles[3], "-p", "x", "--batch", "2")
    assert engine.returncode == 2
    assert "one prompt at a time" in engine.stderr
