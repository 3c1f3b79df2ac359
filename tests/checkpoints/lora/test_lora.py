"""Adapters: what is exported is what PEFT's own merge gives, and what cannot be merged is refused."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.lora.adapter import PREFIX
from exporter.checkpoints.lora.low_rank import LowRank
from exporter.checkpoints.tensors.stored_tensor import read_directory
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import TensorSpec
from exporter.options import ExportOptions
from exporter.path_kind import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from exporter.pipeline import export
from exporter.verify.sides.stored_weights import stored_constants
from exporter.weights.matching import Weight
from quantize.builtin_recipes import RECIPES
from tests.adapters import KINDS, TEXT, make_adapter, save_merged
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.weight_values import Values, adapted, values

ROUNDING = 1e-6
"""Of a weight's largest magnitude: both merges are float32, and add the r products of a change in an
order of their own. Measured: 1e-7."""

CODES_OFF = 1e-4
"""Share of int8 codes that such a rounding may tip over to the next: one in ten thousand lies within
1e-7 of 127 steps from the middle between two. Measured: none."""


def assert_same(ours: Values, theirs: Values, unlike: Values) -> None:
    """Equal up to rounding, and not because nothing was changed."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        error = np.abs(ours[name] - expected).max()
        assert error <= ROUNDING * np.abs(expected).max(), name
    changed = [name for name in theirs if not np.array_equal(theirs[name], unlike[name])]
    assert changed


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with nothing wrong."""
    folder = tmp_path_factory.mktemp("adapter")
    make_adapter(TINY_TARGET, folder, target_modules=TEXT + "q_proj")
    return folder


TARGETS: dict[str, dict[str, Any]] = {
    "plain": {
        "target_modules": TEXT + r"(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    },
    "gates": {"target_modules": TEXT + r"(per_layer_input_gate|per_layer_projection)"},
    "per_layer_model": {"target_modules": TEXT + "per_layer_model_projection"},
    "patterns": {
        "target_modules": TEXT + "(q_proj|up_proj)",
        "rank_pattern": {r"layers\.0\.self_attn\.q_proj": 7, "up_proj": 2},
        "alpha_pattern": {r"layers\.[1-3]\..*up_proj": 31},
    },
    "rslora": {"target_modules": TEXT + "o_proj", "use_rslora": True},
    "dora": {"target_modules": TEXT + "(q_proj|down_proj)", "use_dora": True},
    "tables": {"target_modules": TEXT + "embed_tokens_per_layer"},
    "norms": {
        "target_modules": TEXT + "o_proj",
        "modules_to_save": ["post_attention_layernorm", "language_model.norm"],
    },
    "ignored fan_in_fan_out": {"target_modules": TEXT + "o_proj", "fan_in_fan_out": True},
}


@pytest.mark.parametrize("options", TARGETS.values(), ids=TARGETS)
def test_target_as_peft_merges_it(options: dict[str, Any], tmp_path: Path) -> None:
    model = make_adapter(TINY_TARGET, tmp_path / "adapter", **options)
    merged = save_merged(model, TINY_TARGET, tmp_path / "merged")
    ours = values(adapted(TINY_TARGET, tmp_path / "adapter"), None)
    plain = values(open_checkpoint(TINY_TARGET), None)
    assert_same(ours, values(open_checkpoint(merged), None), plain)


def test_drafter_as_peft_merges_it(tmp_path: Path) -> None:
    modules = ["q_proj", "o_proj", "up_proj", "pre_projection", "post_projection", "centroids"]
    model = make_adapter(
        TINY_DRAFTER, tmp_path / "adapter", kind=KINDS["drafter"], target_modules=modules
    )
    merged = save_merged(model, TINY_DRAFTER, tmp_path / "merged")
    ours = values(None, adapted(TINY_DRAFTER, tmp_path / "adapter"))
    plain = values(None, open_checkpoint(TINY_DRAFTER))
    assert_same(ours, values(None, open_checkpoint(merged)), plain)


EMBEDDING, HEAD = "target.embed_tokens.weight", "target.lm_head.weight"


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"target_modules": TEXT + "embed_tokens"}, {EMBEDDING}),
        ({"target_modules": ["lm_head"]}, {HEAD}),
        ({"target_modules": ["embed_tokens"], "ensure_weight_tying": True}, {EMBEDDING, HEAD}),
        ({"target_modules": TEXT + "embed_tokens", "ensure_weight_tying": True}, {EMBEDDING}),
        ({"target_modules": r".*embed_tokens", "ensure_weight_tying": True}, {EMBEDDING, HEAD}),
        (
            {"target_modules": TEXT + "q_proj", "trainable_token_indices": [2000, 9, 5]},
            {EMBEDDING, HEAD},
        ),
        (
            {"target_modules": TEXT + "q_proj", "trainable_token_indices": {"lm_head": [7, 8]}},
            {HEAD},
        ),
        ({"target_modules": TEXT + "q_proj", "modules_to_save": ["lm_head"]}, {HEAD}),
    ],
    ids=[
        "embedding",
        "head",
        "both",
        "not both",
        "both by pattern",
        "tokens",
        "tokens of the head",
        "whole head",
    ],
)
def test_tied_head(options: dict[str, Any], changed: set[str], tmp_path: Path) -> None:
    """A change of one module's output leaves the other as it is, though they share a parameter.

    PEFT's merge would add it to the shared parameter, so here its unmerged modules are asked: rows of
    the embedding by looking up every token, rows of the head by the identity.
    """
    model = make_adapter(TINY_TARGET, tmp_path / "adapter", **options)
    ours = values(adapted(TINY_TARGET, tmp_path / "adapter"), None)
    plain = values(open_checkpoint(TINY_TARGET), None)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    hidden = plain[EMBEDDING].shape[1]
    with torch.no_grad():
        rows = embedding(torch.arange(plain[EMBEDDING].shape[0])) / hidden**0.5
        columns = head(torch.eye(hidden)).T
    for name, expected in ((EMBEDDING, rows), (HEAD, columns)):
        error = np.abs(ours[name] - expected.numpy()).max()
        assert error <= ROUNDING * expected.abs().max().item(), name
        assert (name in changed) != np.array_equal(ours[name], plain[name]), name


def test_text_only_adapter_on_a_multimodal_checkpoint(good: Path, tmp_path: Path) -> None:
    """Names depend on the class that was trained; the text model is the same."""
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    expected = values(adapted(TINY_TARGET, tmp_path), None)
    for prefix in ("model.", "language_model.model."):
        tensors = load_file(tmp_path / ADAPTER_WEIGHTS)
        renamed = {
            PREFIX + prefix + name[name.index("layers.") :]: tensor
            for name, tensor in tensors.items()
        }
        save_file(renamed, tmp_path / ADAPTER_WEIGHTS)
        ours = values(adapted(TINY_TARGET, tmp_path), None)
        assert all(np.array_equal(ours[name], expected[name]) for name in expected)


def test_rows_do_not_depend_on_the_blocks(tmp_path: Path) -> None:
    """Both layouts of factors, cut into blocks anywhere."""
    source = np.random.default_rng(0)
    a, b, rows = (source.normal(size=s).astype(np.float32) for s in ((3, 8), (10, 3), (10, 8)))
    file = tmp_path / "x.safetensors"
    tensors = {"A": a, "B": b, "embedding_A": b.T.copy(), "embedding_B": a.T.copy()}
    save_file({name: torch.from_numpy(array) for name, array in tensors.items()}, file)
    found = read_directory(file)
    linear = LowRank(found["B"], found["A"], 0.5)
    embedding = LowRank(found["embedding_A"], found["embedding_B"], 0.5, of_embedding=True)
    expected = rows.astype(np.float64) + 0.5 * b.astype(np.float64) @ a
    for change in (linear, embedding):
        assert change.shape == rows.shape
        assert change.rank == 3
        with TensorReader() as reader:
            for cut in (1, 7):
                parts = [
                    change.changed(rows[:cut], 0, reader),
                    change.changed(rows[cut:], cut, reader),
                ]
                assert np.allclose(np.concatenate(parts), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_towers_and_unused_keys_are_ignored(good: Path, tmp_path: Path) -> None:
    """And told of: adapters trained by name suffix change vision towers, too."""
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / ADAPTER_WEIGHTS)
    others = (
        "model.vision_tower.encoder.layers.0.q_proj",
        "model.language_model.layers.7.self_attn.k_proj",
    )
    for module in others:
        tensors[f"{PREFIX}{module}.lora_A.weight"] = torch.zeros(4, 8)
        tensors[f"{PREFIX}{module}.lora_B.weight"] = torch.zeros(8, 4)
    save_file(tensors, tmp_path / ADAPTER_WEIGHTS)
    exported = export_float(adapted(TINY_TARGET, tmp_path), tmp_path / "x.litertlm")
    assert exported["model.vision_tower.encoder.layers.*"] == 1
    assert exported["model.language_model.layers.*.self_attn"] == 1


def export_float(target: Checkpoint, output: Path) -> Mapping[str, int]:
    options, drafter = ExportOptions(RECIPES["float32"]), open_checkpoint(TINY_DRAFTER)
    return export(target, drafter, output, options).ignored["target"]


@pytest.mark.slow
def test_bundle_equals_that_of_the_merged_checkpoint(tmp_path: Path) -> None:
    """Through the whole export, int8: codes and scales, and what the manifest says."""
    options, drafter = ExportOptions(RECIPES["int8"]), open_checkpoint(TINY_DRAFTER)
    model = make_adapter(TINY_TARGET, tmp_path / "adapter", **TARGETS["plain"])
    merged = open_checkpoint(save_merged(model, TINY_TARGET, tmp_path / "merged"))
    ours = export(
        adapted(TINY_TARGET, tmp_path / "adapter"), drafter, tmp_path / "ours.litertlm", options
    ).output
    theirs = export(merged, drafter, tmp_path / "theirs.litertlm", options).output
    codes = [stored_constants(open_bundle(file)) for file in (ours, theirs)]
    for section, constants in codes[1].items():
        for name, constant in constants.items():
            mine = codes[0][section][name]
            assert np.allclose(mine.scales, constant.scales, rtol=ROUNDING, atol=0), name
            differing = np.mean(mine.data != constant.data)
            assert differing <= (CODES_OFF if constant.quantised else 0), name
    manifest = open_bundle(ours).manifest()
    assert manifest is not None
    source = manifest["sources"]["target"]
    assert source["adapter"] == {"source": "adapter", "revision": None}
    assert {ADAPTER_CONFIG, ADAPTER_WEIGHTS} <= source["sha256"].keys()


MOST_MEMORY = 64e6
"""Bytes that a merged table of 268 MB may take at a time: a few blocks of 8 MB and their factors."""


def test_a_large_table_streams(tmp_path: Path) -> None:
    """Of an embedding's factors, too, only the columns of a block are read."""
    rows, width, rank = 131_072, 512, 16
    tensors = {
        "table": torch.zeros(rows, width, dtype=torch.bfloat16),
        "A": torch.ones(rank, rows),
        "B": torch.ones(width, rank),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    found = read_directory(tmp_path / "x.safetensors")
    change = LowRank(found["A"], found["B"], 0.25, of_embedding=True)
    with TensorReader() as reader:
        spec = TensorSpec((rows, width))
        weight = Weight("target.x", spec, found["table"], reader, change=change)
        tracemalloc.start()
        try:
            assert all((block == 0.25 * rank).all() for block in weight.blocks())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < MOST_MEMORY
