"""Fine-tuned and quantised checkpoints: our modules against transformers in a process of its own.

There an adapter is applied by PEFT beside the weights, and codes by transformers' quantised layers.
"""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Gemma4ForCausalLM, Gemma4ForConditionalGeneration

from exporter.agreement import make_contract
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.options import ExportOptions
from exporter.verify.rung import Verdict
from exporter.verify.rungs.model import compare_passes
from exporter.verify.sides.golden import (
    NO_GROUPS,
    Golden,
    TransformersError,
    ask,
    missing,
)
from exporter.verify.sides.torch_pair import TorchPair, from_checkpoints
from exporter.weights.matching import find_weights
from exporter.weights.parameters import parameter_specs
from quantize.builtin_recipes import RECIPES
from tests.adapters import TEXT, load, make_adapter
from tests.bundles import TINY_TARGET
from tests.checkpoints.asked import QUESTION, TOKENS
from tests.packed_target import E2B_BITS, write_packed
from tests.weight_values import adapted

pytestmark = pytest.mark.slow

LEAST_CHANGE = 0.1
"""Of the largest logit error: a thousand times what the two sides may differ by."""


def assert_unlike(plain: Golden, golden: Golden) -> None:
    """Else nothing was tested."""
    assert abs(golden.arrays["logits"] - plain.arrays["logits"]).max() > LEAST_CHANGE


def compared(target: Checkpoint) -> Golden:
    """Both sides on :data:`TOKENS`, which must agree."""
    pair = Pair.of(target, None)
    contract = make_contract(pair.target_config, None, ExportOptions(RECIPES["float32"]))
    specs = parameter_specs(pair.target_config, None, HeadKind.FULL)
    with TensorReader() as reader, torch.no_grad():
        source = from_checkpoints(find_weights(specs, target, None, reader))
        ours = TorchPair(pair.target_config, None, contract, source).read(TOKENS, QUESTION.probes)
    golden = ask(target, None, QUESTION, 2)
    rung = compare_passes(ours, golden)
    assert rung.verdict is Verdict.PASS, rung
    return golden


def test_adapter_of_projections_and_embedding(plain: Golden, tmp_path: Path) -> None:
    """The embedding's change acts on the input only, though the head is tied to it."""
    modules = TEXT + "(q_proj|k_proj|o_proj|up_proj|embed_tokens|embed_tokens_per_layer)"
    make_adapter(TINY_TARGET, tmp_path, target_modules=modules, use_rslora=True, lora_alpha=1)
    assert_unlike(plain, compared(adapted(TINY_TARGET, tmp_path)))


def test_dora_adapter(plain: Golden, tmp_path: Path) -> None:
    modules = TEXT + "(q_proj|v_proj|gate_proj|down_proj|per_layer_model_projection)"
    make_adapter(TINY_TARGET, tmp_path, target_modules=modules, use_dora=True)
    assert_unlike(plain, compared(adapted(TINY_TARGET, tmp_path)))


def test_adapter_of_single_tokens(plain: Golden, tmp_path: Path) -> None:
    """Rows of the tied head change with those of the embedding."""
    make_adapter(
        TINY_TARGET,
        tmp_path,
        target_modules=TEXT + "q_proj",
        trainable_token_indices=sorted(set(TOKENS[::2])),
    )
    assert_unlike(plain, compared(adapted(TINY_TARGET, tmp_path)))


def test_adapter_of_the_text_only_class(plain: Golden, tmp_path: Path) -> None:
    """Trained on Gemma4ForCausalLM, where a list of names is enough; the checkpoint is multimodal."""
    names = ["q_proj", "v_proj", "o_proj", "down_proj"]
    text = save_text_only(TINY_TARGET, tmp_path / "text")
    make_adapter(text, tmp_path / "adapter", kind=Gemma4ForCausalLM, target_modules=names)
    golden = compared(adapted(TINY_TARGET, tmp_path / "adapter"))
    assert_unlike(plain, golden)
    of_text = ask(adapted(text, tmp_path / "adapter"), None, QUESTION, 2)
    assert np.array_equal(golden.arrays["logits"], of_text.arrays["logits"])


def test_adapter_that_no_class_takes(tmp_path: Path) -> None:
    """Trained on the multimodal class, over a checkpoint that was saved text-only."""
    text = save_text_only(TINY_TARGET, tmp_path / "text")
    make_adapter(TINY_TARGET, tmp_path / "adapter", target_modules=TEXT + "q_proj")
    assert "multimodal class" in missing(adapted(text, tmp_path / "adapter"), None)
    assert missing(adapted(TINY_TARGET, tmp_path / "adapter"), None) == ""


def test_a_weight_that_is_missing_is_not_random(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    shutil.copytree(TINY_TARGET, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.language_model.layers.3.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(TransformersError, match=r"has no model\.language_model\.layers\.3\.mlp"):
        ask(open_checkpoint(folder), None, QUESTION, 2)


def save_text_only(multimodal: Path, folder: Path) -> Path:
    """The text model of a checkpoint, as transformers saves it by itself."""
    whole = load(multimodal, Gemma4ForConditionalGeneration)
    model = Gemma4ForCausalLM(whole.config.text_config)
    model.model.load_state_dict(whole.model.language_model.state_dict())
    model.save_pretrained(folder)
    return folder


def test_packed_checkpoint(plain: Golden, tmp_path: Path) -> None:
    """Where transformers cannot read it, that is said and nothing is asked."""
    packed = open_checkpoint(write_packed(TINY_TARGET, tmp_path / "target", E2B_BITS).folder)
    if metadata.version("transformers") in NO_GROUPS:
        assert "refuses the several scales a row" in missing(packed, None)
        return
    assert missing(packed, None) == ""
    assert_unlike(plain, compared(packed))
