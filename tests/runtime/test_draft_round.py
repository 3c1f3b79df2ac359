"""All drafts of a round in one call: the same tokens as single steps, whatever the weights and lengths."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from speed.drafting import one_by_one, places

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.layout import DRAFT_ROUND_VALUE, SHA256_KEY
from exporter.bundle.reader import open_bundle
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.names import DRAFT, DRAFT_ROUND, TOKENS, Section
from exporter.errors import BundleError
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.sampling import GREEDY, SamplingSettings
from runtime_py.opened_model import OpenedModel, open_model
from tests.bundles import (
    DRAFT_LENGTH,
    SHORT_CACHE,
    TINY_DRAFTER,
    TINY_TARGET,
    held_out_prompts,
)
from tests.damage import rewritten

HARDWARE = Hardware(threads=2)
POSITIONS = 60
LAST_POSITIONS = 5
LARGEST_CONSTANT = 16 * 1024
"""Bytes: slot numbers. The smallest matrix of the tiny pair is larger."""
TEXT = "\n".join(held_out_prompts(6))


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["int8"]


def assert_same_drafts(executor: LitertExecutor, prompt: list[int], count: int) -> None:
    """Single steps before and after the round, so that neither leaves anything behind."""
    rounds = []
    for place in places(executor, prompt, count):
        expected = one_by_one(executor, place)
        rounds.append(executor.draft_round(place))
        assert rounds[-1] == expected, place.position
        assert one_by_one(executor, place) == expected
    assert len(set(rounds)) > count // 3, "the drafts hardly differ"


@pytest.mark.parametrize("recipe", ["float32", "int8", "int4", "int4-block32"])
def test_the_drafts_are_those_of_single_steps(recipe: str, tiny_bundles: dict[str, Path]) -> None:
    with open_model(tiny_bundles[recipe], HARDWARE) as model:
        assert model.executor.drafts_at_once == DRAFT_LENGTH
        assert_same_drafts(model.executor, model.tokenizer.encode_prompt(TEXT), POSITIONS)


@pytest.mark.parametrize("cache_length", [1200, 1999])
def test_with_a_cache_length_chosen_at_load(
    cache_length: int, tiny_bundles: dict[str, Path]
) -> None:
    """Up to the last slot."""
    with open_model(tiny_bundles["int8"], HARDWARE, cache_length=cache_length) as model:
        text = model.tokenizer.encode_prompt(TEXT)
        filled = (text * cache_length)[: cache_length - LAST_POSITIONS]
        for place in places(model.executor, filled, LAST_POSITIONS):
            assert model.executor.draft_round(place) == one_by_one(model.executor, place)
        assert place.position == cache_length - 2


def test_with_a_fixed_cache(short_bundle: Path) -> None:
    with open_model(short_bundle, HARDWARE) as model:
        assert model.executor.cache_length == SHORT_CACHE
        assert_same_drafts(model.executor, model.tokenizer.encode_prompt(TEXT)[:40], POSITIONS)


def export_other(folder: Path, drafter: Path, head: HeadKind, drafts: int, recipe: str) -> Path:
    """A bundle with another draft length or head; the other graphs are the shipped ones."""
    options = ExportOptions(RECIPES[recipe], draft_length=drafts, drafter_head=head)
    checkpoints = open_checkpoint(TINY_TARGET), open_checkpoint(drafter)
    return export(*checkpoints, folder / "bundle.litertlm", options).output


@pytest.fixture(scope="module")
def random_drafter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny drafter with matrices of noise: it knows nothing."""
    from safetensors.torch import load_file, save_file
    from torch import Generator, randn

    folder, source = tmp_path_factory.mktemp("random") / "drafter", Generator().manual_seed(7)
    shutil.copytree(TINY_DRAFTER, folder)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dim() == 2:
            noise = tensor.float().std() * randn(tensor.shape, generator=source)
            tensors[name] = noise.to(tensor.dtype)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "drafts", "recipe", "trained"),
    [
        (HeadKind.FULL, 4, "int8", True),
        (HeadKind.CENTROID, 1, "float32", True),
        (HeadKind.FULL, 4, "int4", False),
        (HeadKind.CENTROID, DRAFT_LENGTH, "float32", False),
    ],
)
def test_other_lengths_heads_and_drafters(
    head: HeadKind,
    drafts: int,
    recipe: str,
    trained: bool,
    random_drafter: Path,
    tmp_path: Path,
) -> None:
    drafter = TINY_DRAFTER if trained else random_drafter
    bundle = export_other(tmp_path, drafter, head, drafts, recipe)
    with open_model(bundle, HARDWARE) as model:
        assert model.executor.drafts_at_once == drafts
        assert_same_drafts(model.executor, model.tokenizer.encode_prompt(TEXT)[:40], POSITIONS)


def test_without_mapping(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where regions cannot be mapped they are read; the graph is edited there as well."""
    monkeypatch.setattr("runtime_py.litert.mapped_section.can_map", lambda: False)
    with open_model(bundle, HARDWARE, cache_length=1300) as model:
        assert not model.executor.mapped
        assert_same_drafts(model.executor, model.tokenizer.encode_prompt(TEXT), 9)


def test_it_has_no_weights_of_its_own(bundle: Path) -> None:
    opened = open_bundle(bundle)
    entry = opened.draft_round
    assert entry is not None
    graph = schema.Model.GetRootAs(opened.read(entry), 0)
    buffers = [graph.Buffers(i) for i in range(graph.BuffersLength())]
    behind = [buffer.Offset() for buffer in buffers if buffer.Offset() > 1]
    assert len(behind) > 40
    assert min(behind) >= entry.nbytes
    assert max(buffer.DataLength() for buffer in buffers) <= LARGEST_CONSTANT


def test_inspect_shows_it(bundle: Path, plain_bundle: Path) -> None:
    found = inspect_bundle(bundle).draft_round
    assert found is not None
    assert list(found) == [DRAFT, DRAFT_ROUND]
    assert found[DRAFT_ROUND].outputs[TOKENS].shape == (DRAFT_LENGTH,)
    assert inspect_bundle(plain_bundle).draft_round is None


def replaced(bundle: Path, folder: Path, old: bytes, new: bytes, count: int = 1) -> Path:
    """The bundle with some bytes of its header replaced by as many others."""
    assert len(old) == len(new)
    content = bundle.read_bytes()
    assert content.count(old) >= count
    changed = folder / "changed.litertlm"
    changed.write_bytes(content.replace(old, new, count))
    return changed


def test_a_bundle_without_it_drafts_step_by_step(bundle: Path, tmp_path: Path) -> None:
    """As older bundles are."""
    name = DRAFT_ROUND_VALUE.encode()
    older = replaced(bundle, tmp_path, name, name[::-1])
    texts = []
    for path in (bundle, older):
        with open_model(path, HARDWARE) as model:
            texts.append(answers(model))
            assert model.executor.drafts_at_once == (DRAFT_LENGTH if path == bundle else 0)
    assert texts[0] == texts[1]


def answers(model: OpenedModel) -> list[tuple[str, tuple[int, ...]]]:
    """Texts, and how many drafts were accepted at each position."""
    found = []
    for prompt in held_out_prompts(4):
        answer = model.session(policy=model.policy(DRAFT_LENGTH)).answer(prompt, 40)
        found.append((answer.text, answer.acceptance.accepted))
    return found


def test_sampling_drafts_step_by_step(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs the drafter's whole distribution."""
    with open_model(bundle, HARDWARE) as model:
        calls = counted(monkeypatch)
        for settings, rounds in ((SamplingSettings(0.8, seed=1), False), (GREEDY, True)):
            calls.clear()
            session = model.session(policy=model.policy(DRAFT_LENGTH), sampling=settings)
            session.answer(held_out_prompts(1)[0], 24)
            assert ("draft_round" in calls) == rounds


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The drafting calls that executors are about to get."""
    calls: list[str] = []
    real = LitertExecutor.draft_round

    def draft_round(*arguments: Any) -> tuple[int, ...]:
        calls.append("draft_round")
        return real(*arguments)

    monkeypatch.setattr(LitertExecutor, "draft_round", draft_round)
    return calls


def test_a_damaged_graph_is_refused(bundle: Path, tmp_path: Path) -> None:
    entry = open_bundle(bundle).draft_round
    assert entry is not None
    damaged = tmp_path / "damaged.litertlm"
    content = bytearray(bundle.read_bytes())
    content[entry.begin + entry.nbytes // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(BundleError, match=DRAFT_ROUND_VALUE), open_model(damaged):
        pass


def test_a_graph_made_for_other_sections_is_refused(bundle: Path, tmp_path: Path) -> None:
    """A drafter that was exchanged by another tool: its weights lie elsewhere."""
    drafter = open_bundle(bundle).model(Section.MTP_DRAFTER)
    assert drafter is not None
    digest = drafter.metadata[SHA256_KEY].encode()
    exchanged = replaced(bundle, tmp_path, digest, digest[::-1])
    said = "made for another token table or drafter than the bundle has"
    with pytest.raises(BundleError, match=said), open_model(exchanged):
        pass
    (problem,) = inspect_bundle(exchanged).problems
    assert said in problem


def test_the_drafter_may_have_another_name(bundle: Path, tmp_path: Path) -> None:
    """In its own section; the graph that stands in its place has the contract's."""
    drafter = open_bundle(bundle).model(Section.MTP_DRAFTER)
    assert drafter is not None
    graph = open_bundle(bundle).read(drafter)[: drafter.graph_bytes]
    name = DRAFT.encode()
    assert name in graph
    renamed = rewritten(bundle, tmp_path, drafter, graph.replace(name, name[::-1]))
    assert inspect_bundle(renamed).problems == ()
    with open_model(renamed, HARDWARE) as model:
        assert model.executor.drafts_at_once == DRAFT_LENGTH
        assert_same_drafts(model.executor, model.tokenizer.encode_prompt(TEXT)[:40], 9)
