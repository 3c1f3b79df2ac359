"""ONNX Runtime under the reference runtime's loop: LiteRT's tokens, with MTP and without."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporter.bundle.onnx_folder import open_folder
from exporter.contract import names
from exporter.errors import BundleError
from exporter.options import OutputFormat
from exporter.verify.answers import PromptAnswers, answer_all
from runtime_py.chat.conversation import Conversation
from runtime_py.litert.hardware import Hardware
from runtime_py.onnx.executor import OnnxExecutor
from runtime_py.onnx.model import open_onnx_model
from runtime_py.opened_model import Opened, open_model
from runtime_py.reference_run import RunSettings, run_reference
from tests.bundles import PROMPT_FILE, export_tiny, held_out_prompts
from tests.onnx.conftest import RECIPES

PROMPTS = 16
THREADS = 2
MAX_NEW_TOKENS = 40
UNSURE = "smallest"
"""A recipe whose 2 bits leave the tiny pair with near-ties; `verify` tells these from faults."""
SHORTEST_CACHE = 1088
"""The least slots that the tiny pair's graphs can be loaded with."""


@pytest.fixture(scope="module")
def model(folders: dict[str, Path]) -> Iterator[Opened[OnnxExecutor]]:
    with open_onnx_model(folders["float32"], THREADS) as opened:
        yield opened


def answers(opened: Opened[Any], count: int) -> tuple[PromptAnswers, ...]:
    lines = PROMPT_FILE.read_text(encoding="utf-8").splitlines()
    prompts = lines[:: len(lines) // count][:count]
    return answer_all(opened.executor, opened.tokenizer, opened.template, prompts, MAX_NEW_TOKENS)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != UNSURE])
def test_tokens_are_those_of_litert(
    recipe: str, folders: dict[str, Path], tiny_bundles: dict[str, Path]
) -> None:
    """Of every recipe with margins, over prompts of all kinds; in float32 the drafts, too."""
    with open_onnx_model(folders[recipe], THREADS) as opened:
        ours = answers(opened, PROMPTS)
    with open_model(tiny_bundles[recipe], Hardware(threads=THREADS)) as bundle:
        theirs = answers(bundle, PROMPTS)
    for here, there in zip(ours, theirs, strict=True):
        assert here.prompt_tokens == there.prompt_tokens
        assert here.greedy.tokens == there.greedy.tokens, here.prompt
        assert here.speculative is not None
        assert there.speculative is not None
        assert here.speculative.tokens == there.speculative.tokens, here.prompt
        assert here.speculative.tokens == here.greedy.tokens, here.prompt
    if recipe == "float32":
        drafted = [[a.speculative.drafts for a in side if a.speculative] for side in (ours, theirs)]
        assert drafted[0] == drafted[1]


def test_caches_are_written_in_place(model: Opened[OnnxExecutor]) -> None:
    """A step changes its own slots of the array that it reads, and nothing else."""
    executor = model.executor
    cache = executor.new_cache()
    before = {name: array.ctypes.data for name, array in cache.arrays.items()}
    executor.prefill(cache, [5, 6, 7], 0)
    filled = executor.read_cache(cache)
    executor.decode(cache, 8, 3)
    executor.verify(cache, [9, 10], 4)
    length = executor.draft_length + 1
    assert {name: array.ctypes.data for name, array in cache.arrays.items()} == before
    for name, array in cache.arrays.items():
        slot_axis = 2 if name.startswith("kv_cache_k") else 3
        slots = np.moveaxis(array, slot_axis, 0)
        then = np.moveaxis(filled[name], slot_axis, 0)
        assert (slots[:3] == then[:3]).all()
        assert all(slots[slot].any() for slot in (3, 4, 5))
        assert (slots[4 + length :] == then[4 + length :]).all()


def test_two_sequences_do_not_disturb_each_other(model: Opened[OnnxExecutor]) -> None:
    executor = model.executor
    one, other = executor.new_cache(), executor.new_cache()
    executor.prefill(one, [5, 6, 7], 0)
    executor.prefill(other, [50, 60, 70], 0)
    alone = executor.decode(one, 8, 3).logits.copy()
    executor.decode(other, 80, 3)
    np.testing.assert_array_equal(executor.decode(one, 8, 3).logits, alone)


def test_the_length_of_the_caches_is_chosen_at_load(
    model: Opened[OnnxExecutor], folders: dict[str, Path]
) -> None:
    """Up to its end, where a padded prefill sticks out: the same text as with more room."""
    first, second = held_out_prompts(2)
    filler = " ".join([first] * 128)
    length = len(model.tokenizer.encode(filler))
    turns = (filler[: len(filler) * (SHORTEST_CACHE - 100) // length], second)
    settings, asked = RunSettings(0, 16), [Conversation(turns)]
    with open_onnx_model(folders["float32"], THREADS, cache_length=SHORTEST_CACHE) as short:
        assert short.executor.new_cache().arrays[names.key_cache(0)].shape[2] == SHORTEST_CACHE
        cut = run_reference(short, settings, asked)
    assert cut.replies[0][1].context_tokens > SHORTEST_CACHE - 128
    assert cut.texts == run_reference(model, settings, asked).texts
    with (
        pytest.raises(BundleError, match="1088 to 2052"),
        open_onnx_model(folders["float32"], THREADS, cache_length=SHORTEST_CACHE - 1),
    ):
        pass


@pytest.mark.slow
def test_a_fixed_length(tmp_path: Path) -> None:
    folder = export_tiny(
        tmp_path / "fixed",
        "int8",
        cache_length=512,
        fixed_cache_length=True,
        prefill_lengths=(32,),
        output_format=OutputFormat.ONNX,
    )
    prompt = held_out_prompts(1)[0]
    with open_onnx_model(folder, THREADS) as opened:
        run = run_reference(opened, RunSettings(2, 24), [Conversation.asking(prompt)])
    assert run.replies[0][0].decode_tokens == 24


def test_without_a_drafter(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = export_tiny(tmp_path / "plain", "int8", drafter=False, output_format=OutputFormat.ONNX)
    assert not (folder / "verify.onnx").exists()
    assert not (folder / "drafter.data").exists()
    with open_onnx_model(folder, THREADS, drafting=False) as plain:
        alone = answers(plain, 3)
    with open_onnx_model(folders["int8"], THREADS, drafting=False) as with_one:
        both = [[a.greedy.tokens for a in side] for side in (alone, answers(with_one, 3))]
    assert both[0] == both[1]
    with pytest.raises(BundleError, match="no drafter"), open_onnx_model(folder):
        pass


def test_a_model_that_is_not_the_contracts_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders["int8"], copy)
    (copy / "decode.onnx").write_bytes((copy / "verify.onnx").read_bytes())
    folder = open_folder(copy)
    with pytest.raises(
        BundleError, match=r"(?s)decode\.onnx: the model does not keep .* input_pos"
    ):
        OnnxExecutor(folder, folder.contract(), THREADS)


def test_a_model_that_onnx_runtime_refuses(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders["int8"], copy)
    model = onnx.load(str(copy / "embedder.onnx"), load_external_data=False)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, str(copy / "embedder.onnx"))
    folder = open_folder(copy)
    with pytest.raises(BundleError, match=r"embedder\.onnx: ONNX Runtime cannot load"):
        OnnxExecutor(folder, folder.contract(), THREADS)
