"""Adapters that cannot be merged: one clear error each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.checkpoints.lora.adapter import PREFIX, open_adapter
from exporter.errors import CheckpointError
from exporter.path_kind import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tests.adapters import TEXT, make_adapter
from tests.bundles import TINY_TARGET
from tests.weight_values import adapted, values


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with nothing wrong."""
    folder = tmp_path_factory.mktemp("adapter")
    make_adapter(TINY_TARGET, folder, target_modules=TEXT + "q_proj")
    return folder


Edit = Callable[[Path], None]

INFINITE = float("inf")


def configured(**change: Any) -> Edit:
    def edit(folder: Path) -> None:
        config = json.loads((folder / ADAPTER_CONFIG).read_text())
        (folder / ADAPTER_CONFIG).write_text(json.dumps(config | change))

    return edit


def with_tensor(name: str, shape: tuple[int, ...] = (4, 128)) -> Edit:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        save_file(tensors | {name: torch.zeros(shape)}, folder / ADAPTER_WEIGHTS)

    return edit


def without(part: str) -> Edit:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        save_file(
            {name: t for name, t in tensors.items() if part not in name}, folder / ADAPTER_WEIGHTS
        )

    return edit


def enlarged(factor: float) -> Edit:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        large = {name: torch.full_like(tensor, factor) for name, tensor in tensors.items()}
        save_file(large, folder / ADAPTER_WEIGHTS)

    return edit


def pickled(folder: Path) -> None:
    (folder / ADAPTER_WEIGHTS).rename(folder / "adapter_model.bin")


Q = f"{PREFIX}model.language_model.layers.0.self_attn.q_proj"
OTHER = f"{PREFIX}model.language_model.layers.99.self_attn.q_proj"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (configured(peft_type="LOHA"), ["expected a LoRA adapter", "'LOHA'"]),
        (configured(init_lora_weights="pissa_niter_4"), ["path_initial_model_for_weight_conversion"]),
        (configured(bias="all", lora_bias=True), ["2 problems", "bias is 'all'", "lora_bias is set"]),
        (configured(r=0), ["r: expected a positive whole number, found 0"]),
        (configured(r=5), ["q_proj: expected rank 5 by the configuration, found 4"]),
        (configured(r=0.5), ["r: expected a positive whole number, found 0.5"]),
        (configured(r=INFINITE), ["r: expected a positive whole number, found inf"]),
        (configured(r=10**400), ["r: expected a positive whole number, found 1000"]),
        (configured(lora_alpha=INFINITE), ["lora_alpha: expected a positive number, found inf"]),
        (configured(lora_alpha=10**400), ["lora_alpha: expected a positive number, found 1000"]),
        (configured(lora_alpha=1e308), ["q_proj", "not finite"]),
        (enlarged(1e30), ["q_proj", "not finite"]),
        (configured(modules_to_save=5), ["modules_to_save: expected a list of names, found 5"]),
        (configured(rank_pattern={"q_proj": INFINITE}), ["rank_pattern.q_proj: expected a positive whole"]),
        (configured(target_modules=5, ensure_weight_tying=True), ["target_modules: expected names"]),
        (configured(rank_pattern={"(": 3}), ["'(' is not a regular expression"]),
        (configured(rank_pattern={"(.|..)+!": 3}), ["rank_pattern", "took more than"]),
        (configured(rank_pattern={"(?i)q_proj": 3}), ["'(?i)q_proj' is not a regular expression"]),
        (configured(rank_pattern={"(" * 999 + ")" * 999: 3}), ["not a regular expression"]),
        (configured(alpha_pattern={"q{9999999999}": 3}), ["'q{9999999999}' is not a regular expression"]),
        (configured(target_modules="(((((.+)+)+)+)+)+!", ensure_weight_tying=True), ["took more than"]),
        (configured(alpha_pattern={"q_proj": -1}), ["alpha_pattern.q_proj"]),
        (configured(use_dora=True), ["lora_magnitude_vector is missing"]),
        (configured(use_qalora=True), ["use_qalora is set"]),
        (configured(trainable_token_indices=[3, 3]), ["embed_tokens: a token is listed twice"]),
        (configured(trainable_token_indices={"x": ["a"]}), ["x: expected token ids, found ['a']"]),
        (without(".layers.0.self_attn.q_proj.lora_B"), ["expected both of .lora_A and .lora_B"]),
        (without("lora"), ["found none"]),
        (with_tensor(f"{Q}.lora_C"), [f"{Q}.lora_C: not a tensor of a LoRA adapter"]),
        (with_tensor("layers.0.lora_A.weight"), ["layers.0.lora_A.weight: not a tensor"]),
        (with_tensor(f"{Q}.lora_magnitude_vector", (128,)), ["a lora_magnitude_vector is there"]),
        (with_tensor(f"{Q}.lora_A.default.weight"), ["name of the adapter", "model.save_pretrained(folder)"]),
        (with_tensor(f"{Q}.modules_to_save.default.weight"), ["the name of the adapter in its name"]),
        (with_tensor(f"{Q}.lora_A.weight", (0,)), ["without elements (1, ", "ZeRO-3"]),
        (with_tensor(f"{OTHER}.weight"), ["trained on another model", "layers.99.self_attn.q_proj"]),
        (with_tensor(f"{Q}.weight"), ["another shape", "[4, 128], expected [128, 128]"]),
        (pickled, ["only adapter_model.bin", "safe_serialization=True"]),
        (lambda folder: (folder / ADAPTER_CONFIG).unlink(), ["with adapter_config.json, found weights"]),
    ],
)  # fmt: skip
def test_refused(damage: Edit, said: list[str], good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    damage(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        values(adapted(TINY_TARGET, tmp_path), None)
    for part in said:
        assert part in str(caught.value)


def test_module_changed_twice(tmp_path: Path) -> None:
    make_adapter(TINY_TARGET, tmp_path, target_modules=TEXT + r"layers\.0\.self_attn\.q_proj")
    tensors = load_file(tmp_path / ADAPTER_WEIGHTS)
    short = {
        name.replace(".language_model", ""): tensor.clone() for name, tensor in tensors.items()
    }
    save_file(tensors | short, tmp_path / ADAPTER_WEIGHTS)
    with pytest.raises(CheckpointError, match="q_proj is changed twice"):
        open_adapter(tmp_path)


def test_dora_on_an_embedding_is_refused(tmp_path: Path) -> None:
    make_adapter(TINY_TARGET, tmp_path, target_modules=TEXT + "embed_tokens", use_dora=True)
    with pytest.raises(CheckpointError, match="DoRA is merged into linear layers only"):
        open_adapter(tmp_path)
