"""The text model under every prefix that tools save it with, and what is no text model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor
from transformers import Gemma4ForConditionalGeneration

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.tensors.tensor_names import EMBEDDING, HEAD, find_names
from exporter.errors import CheckpointError
from exporter.verify.sides.golden import Question, ask
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.checkpoints.variants import STOCK_PREFIX, Tensors, renamed, save_variant
from tests.packed_target import E2B_BITS, write_packed
from tests.weight_values import values

PREFIXES = ("language_model.model.", "language_model.", "model.", "")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_target_under_another_prefix(prefix: str, tmp_path: Path) -> None:
    folder = save_variant(tmp_path, renamed(STOCK_PREFIX, prefix))
    assert find_names(open_checkpoint(folder)).prefix == prefix
    ours, stock = (
        values(open_checkpoint(folder), None),
        values(open_checkpoint(TINY_TARGET), None),
    )
    assert all(np.array_equal(ours[name], stock[name]) for name in stock)


UNTIED = {"tie_word_embeddings": False}


def raised_head(tensors: Tensors) -> Tensor:
    return tensors[f"{STOCK_PREFIX}{EMBEDDING}"] + 0.5


def of_transformers(folder: Path) -> Mapping[str, NDArray[np.float32]]:
    question = Question((2, 5, 9, 13, 17), (3, 4), (2,), 1)
    return ask(open_checkpoint(folder), open_checkpoint(TINY_DRAFTER), question, 1).arrays


@pytest.fixture(scope="module")
def of_stock_names(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, NDArray[np.float32]]:
    """What transformers says of the tiny pair with a head of its own, under its own names."""
    folder = tmp_path_factory.mktemp("stock")
    return of_transformers(
        save_variant(folder, lambda tensors: tensors | {HEAD: raised_head(tensors)}, UNTIED)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefix", "of_head"),
    [("language_model.model.", "language_model."), ("language_model.", ""), ("", "")],
)
def test_transformers_loads_it_for_verify(
    prefix: str, of_head: str, of_stock_names: Mapping[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    """Under names that it would pass over, leaving random weights and saying so in a log only."""
    renames = renamed(STOCK_PREFIX, prefix)
    head = f"{of_head}lm_head.weight"
    folder = save_variant(tmp_path, lambda t: renames(t) | {head: raised_head(t)}, UNTIED)
    ours = of_transformers(folder)
    assert ours.keys() == of_stock_names.keys()
    assert all(np.array_equal(ours[name], of_stock_names[name]) for name in ours)


def test_drafter_without_a_prefix(tmp_path: Path) -> None:
    folder = save_variant(tmp_path, renamed("model.", ""), source=TINY_DRAFTER)
    ours, stock = (
        values(None, open_checkpoint(folder)),
        values(None, open_checkpoint(TINY_DRAFTER)),
    )
    assert all(np.array_equal(ours[name], stock[name]) for name in stock)


def test_packed_target_under_another_prefix(tmp_path: Path) -> None:
    packed = write_packed(TINY_TARGET, tmp_path / "packed", E2B_BITS).folder
    config = {"quantization_config": open_checkpoint(packed).config["quantization_config"]}
    folder = save_variant(
        tmp_path / "x", renamed(STOCK_PREFIX, "language_model.model."), config, packed
    )
    ours, stock = values(open_checkpoint(folder), None), values(open_checkpoint(packed), None)
    assert all(np.array_equal(ours[name], stock[name]) for name in stock)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "base_model.model.", ["base_model.model.", "PEFT", "merge_and_unload()", "--lora"]),
        ("", "_orig_mod.", ["torch.compile", "model._orig_mod"]),
        ("", "module.", ["DistributedDataParallel", "model.module"]),
        ("", "_fsdp_wrapped_module.", ["FSDP"]),
        (
            f"{STOCK_PREFIX}layers.1.self_attn.q_proj.",
            f"{STOCK_PREFIX}layers.1.self_attn.q_proj.base_layer.",
            ["q_proj.base_layer.weight", "saved unmerged"],
        ),
        (
            f"{STOCK_PREFIX}layers.1.",
            f"{STOCK_PREFIX}layers.1._orig_mod.",
            ["layers.1._orig_mod", "torch.compile"],
        ),
        (
            f"{STOCK_PREFIX}layers.1.",
            "model.layers.1.",
            ["under one prefix", f"under {STOCK_PREFIX} and", "under model.;", "mixed"],
        ),
        (STOCK_PREFIX, "backbone.", ["language_model.model.embed_tokens.weight", "found none"]),
    ],
)  # fmt: skip
def test_named_for_what_it_is(old: str, new: str, said: list[str], tmp_path: Path) -> None:
    folder = save_variant(tmp_path, renamed(old, new))
    with pytest.raises(CheckpointError) as caught:
        find_names(open_checkpoint(folder))
    for part in said:
        assert part in str(caught.value)


def test_head_that_differs_though_the_configuration_ties_it(tmp_path: Path) -> None:
    """Transformers keeps both then; equal ones are one, whatever the blocks."""
    table = f"{STOCK_PREFIX}{EMBEDDING}"

    def own_head(tensors: Tensors) -> Tensors:
        head = tensors[table].clone()
        head[-1, -1] += 1
        return tensors | {HEAD: head}

    differing = save_variant(tmp_path / "a", own_head)
    equal = save_variant(tmp_path / "b", lambda tensors: tensors | {HEAD: tensors[table].clone()})
    stock = values(open_checkpoint(TINY_TARGET), None)
    of_differing, of_equal = (values(open_checkpoint(f), None) for f in (differing, equal))
    changed = [name for name in stock if not np.array_equal(of_differing[name], stock[name])]
    assert changed == ["target.lm_head.weight"]
    assert all(np.array_equal(of_equal[name], stock[name]) for name in stock)


@pytest.mark.slow
def test_only_the_whole_models_configuration_unties_the_head(tmp_path: Path) -> None:
    """Transformers asks the class with the head, whose configuration is the outer one."""
    text = open_checkpoint(TINY_TARGET).config["text_config"] | {"tie_word_embeddings": False}
    folder = save_variant(tmp_path, dict, {"text_config": text})
    ours, stock = (values(open_checkpoint(f), None) for f in (folder, TINY_TARGET))
    assert all(np.array_equal(ours[name], stock[name]) for name in stock)
    reference = Gemma4ForConditionalGeneration.from_pretrained(folder)
    assert reference.lm_head.weight is reference.get_input_embeddings().weight


def test_weights_that_another_process_had(tmp_path: Path) -> None:
    """As DeepSpeed's ZeRO-3 leaves them."""
    folder = save_variant(tmp_path, lambda tensors: {name: t[:0] for name, t in tensors.items()})
    with pytest.raises(CheckpointError, match="tensors without elements") as caught:
        open_checkpoint(folder)
    assert "zero_to_fp32.py" in str(caught.value)
