"""What comes with an adapter: its tokenizer and template, the base it names, options of newer versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.checkpoints.assets.assets import Assets, read_assets
from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.checkpoints.lora.adapter import PREFIX
from exporter.checkpoints.lora.base_model import base_note
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.errors import CheckpointError
from exporter.options import ExportOptions
from exporter.path_kind import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from exporter.plan.export_plan import make_plan
from exporter.progress import SilentReporter
from exporter.templates.fitting import fit_template
from quantize.builtin_recipes import RECIPES
from tests.adapters import TEXT, make_adapter
from tests.bundles import TINY_TARGET
from tests.weight_values import adapted, values

TEMPLATE = (TINY_TARGET / "chat_template.jinja").read_text(encoding="utf-8") + "{# the adapter's #}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    make_adapter(TINY_TARGET, folder, target_modules=TEXT + "q_proj")
    return folder


@pytest.fixture
def adapter(saved: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(saved, tmp_path / "adapter"))


def configure(folder: Path, **change: Any) -> None:
    config = json.loads((folder / ADAPTER_CONFIG).read_text())
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config | change))


def assets_of(checkpoint: Checkpoint) -> Assets:
    return read_assets(checkpoint, parse_target(checkpoint.config, "target"))


def test_its_tokenizer_and_template_are_used(adapter: Path) -> None:
    """They are what it was trained with; told in one line, and part of what is hashed."""
    tokenizer = json.loads((TINY_TARGET / "tokenizer.json").read_text())
    (adapter / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1))
    (adapter / "chat_template.jinja").write_text(TEMPLATE)
    checkpoint = adapted(TINY_TARGET, adapter)
    assets = assets_of(checkpoint)
    assert assets.tokenizer.path == adapter / "tokenizer.json"
    assert assets.template.source == TEMPLATE
    assert checkpoint.taken_from_adapter() == ["tokenizer.json", "chat_template.jinja"]
    files = checkpoint.source_files()
    assert {adapter / "tokenizer.json", TINY_TARGET / "config.json"} <= set(files)
    assert len({file.name for file in files}) == len(files)


class Notes(SilentReporter):
    """Remembers what an export says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_an_export_tells(adapter: Path, tmp_path: Path) -> None:
    (adapter / "chat_template.jinja").write_text(TEMPLATE)
    configure(adapter, base_model_name_or_path="google/gemma-4-E4B-it")
    pair, options, notes = (
        Pair.of(adapted(TINY_TARGET, adapter), None),
        ExportOptions(RECIPES["int8"]),
        Notes(),
    )
    with TensorReader() as reader:
        make_plan(pair, tmp_path / "x.litertlm", options, reader, notes)
    assert notes.said == [
        "the adapter names google/gemma-4-E4B-it as its base; the target is target",
        "taken from the target's adapter: chat_template.jinja",
        fit_template(TEMPLATE, "it").summary(),
        "the bundle takes no pictures: the chat template has no place for pictures (<|image|>)",
    ]


def test_a_template_inside_its_settings(adapter: Path) -> None:
    """As tokenizers were saved before templates had a file of their own: it goes before the target's file."""
    settings = json.loads((TINY_TARGET / "tokenizer_config.json").read_text())
    settings["chat_template"] = TEMPLATE
    (adapter / "tokenizer_config.json").write_text(json.dumps(settings))
    assert assets_of(adapted(TINY_TARGET, adapter)).template.source == TEMPLATE


def test_without_files_of_its_own(adapter: Path) -> None:
    configure(adapter, base_model_name_or_path="someone/target")
    checkpoint = adapted(TINY_TARGET, adapter)
    assert assets_of(checkpoint) == assets_of(open_checkpoint(TINY_TARGET))
    assert checkpoint.notes() == []


@pytest.mark.parametrize(
    ("base", "target", "differs"),
    [
        ("google/gemma-4-E2B-it", "google/gemma-4-E2B-it", False),
        ("unsloth/gemma-4-E2B-it-unsloth-bnb-4bit", "google/gemma-4-E2B-it", False),
        ("unsloth/gemma-4-E2B-it", "gemma-4-E2B-it", False),
        ("/home/me/models/gemma-4-e2b-it/", "google/gemma-4-E2B-it", False),
        ("/x/hub/models--google--gemma-4-E2B-it/snapshots/0a1b", "gemma-4-E2B-it", False),
        (None, "google/gemma-4-E2B-it", False),
        ("google/gemma-4-E2B", "google/gemma-4-E2B-it", True),
        ("google/gemma-4-E4B-it", "google/gemma-4-E2B-it", True),
    ],
)
def test_the_base_it_names(base: str | None, target: str, differs: bool) -> None:
    note = base_note(base, target)
    assert (note is not None) == differs
    if note is not None:
        assert note == f"the adapter names {base} as its base; the target is {target}"


def test_another_base_is_told(adapter: Path) -> None:
    configure(adapter, base_model_name_or_path="google/gemma-4-E4B-it")
    (note,) = adapted(TINY_TARGET, adapter).notes()
    assert note == "the adapter names google/gemma-4-E4B-it as its base; the target is target"


def test_what_peft_writes_of_training_does_not_matter(adapter: Path) -> None:
    """Options that the tensors have taken into account."""
    plain = values(adapted(TINY_TARGET, adapter), None)
    configure(
        adapter,
        base_model_name_or_path=None,
        auto_mapping={"base_model_class": "Gemma4ForConditionalGeneration", "unsloth_fixed": True},
        exclude_modules=["lm_head"],
        init_lora_weights="eva",
        eva_config={"rho": 2.0},
        loftq_config={"loftq_bits": 4},
        megatron_config={},
        runtime_config={"ephemeral_gpu_offload": True},
        layers_pattern="layers",
        an_option_of_tomorrow=None,
    )
    checkpoint = adapted(TINY_TARGET, adapter)
    assert checkpoint.notes() == []
    assert all((array == plain[name]).all() for name, array in values(checkpoint, None).items())


def test_options_that_are_not_known_are_told(adapter: Path) -> None:
    configure(adapter, base_model_name_or_path=None, an_option_of_tomorrow=3)
    (note,) = adapted(TINY_TARGET, adapter).notes()
    assert "sets an_option_of_tomorrow, which this version does not know" in note


def test_tokens_added_while_training(adapter: Path) -> None:
    """PEFT saves the whole table then, which the published base has no rows for."""
    tensors = load_file(adapter / ADAPTER_WEIGHTS)
    table = f"{PREFIX}model.language_model.embed_tokens.weight"
    save_file(tensors | {table: torch.zeros(2112, 128)}, adapter / ADAPTER_WEIGHTS)
    with pytest.raises(CheckpointError, match=r"tokens were added.*resize_token_embeddings"):
        values(adapted(TINY_TARGET, adapter), None)
    rows = f"{PREFIX}model.language_model.embed_tokens.token_adapter.trainable_tokens_delta"
    save_file(tensors | {rows: torch.zeros(2, 128)}, adapter / ADAPTER_WEIGHTS)
    configure(adapter, trainable_token_indices=[5, 2100])
    with pytest.raises(CheckpointError, match=r"tokens were added.*tokens \[2100\], beyond"):
        values(adapted(TINY_TARGET, adapter), None)
    configure(adapter, trainable_token_indices=[5])
    with pytest.raises(CheckpointError, match=r"expected rows of the 1 tokens"):
        values(adapted(TINY_TARGET, adapter), None)
