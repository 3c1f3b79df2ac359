"""``export`` of an adapted target with a drafter that knows nothing of it says what to do next."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.cli.drafter_advice import drafter_advice
from tests import command
from tests.bundles import TINY_DRAFTER, TINY_TARGET

MODULE = "model.language_model.layers.0.self_attn.q_proj"


def write_adapter(folder: Path) -> Path:
    """An adapter of rank 2 for one matrix of the tiny target."""
    shape = open_checkpoint(TINY_TARGET).shape_of(f"{MODULE}.weight")
    assert shape is not None
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    factors = {"A": np.ones((2, shape[1])), "B": np.full((shape[0], 2), 0.01)}
    tensors = {
        f"base_model.model.{MODULE}.lora_{name}.weight": factor.astype(np.float32)
        for name, factor in factors.items()
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.slow
def test_an_adapted_target_with_a_stock_drafter(tmp_path: Path) -> None:
    adapter, output = write_adapter(tmp_path / "my-lora"), tmp_path / "out.litertlm"
    done = command.run("export", TINY_TARGET, TINY_DRAFTER, "-o", output, "--lora", adapter)
    assert done.returncode == 0, done.stderr
    (advice,) = (line for line in done.stderr.splitlines() if "mtp-export tune" in line)
    assert advice.startswith("the drafter was made for the target without my-lora, so fewer")
    assert f"`mtp-export compare {output} --prompts FILE`" in advice


@pytest.mark.parametrize(
    ("target", "drafter", "advised"),
    [
        ("google/gemma-4-E2B-it", "google/gemma-4-E2B-it-assistant", False),
        ("me/gemma-4-E2B-it", "google/gemma-4-E2B-it-assistant", False),  # a copy
        ("me/gemma-4-E2B-medical", "google/gemma-4-E2B-it-assistant", True),
        ("target", "drafter", False),  # folders of any names
    ],
)
def test_names_tell_whose_drafter_it_is(target: str, drafter: str, advised: bool) -> None:
    stock = replace(open_checkpoint(TINY_DRAFTER), source=drafter)
    tuned = replace(open_checkpoint(TINY_TARGET), source=target)
    advice = drafter_advice(tuned, stock, "mtp-export compare x")
    assert (advice is not None) is advised
    assert advice is None or "was made for gemma-4-E2B-it, not for me/gemma-4-E2B-medical" in advice


def test_a_drafter_that_was_adapted_too(tmp_path: Path) -> None:
    folder = tmp_path / "gemma-4-E2B-it-assistant"
    shutil.copytree(TINY_DRAFTER, folder)
    target = open_checkpoint(TINY_TARGET)
    assert drafter_advice(target, open_checkpoint(folder), "x") is not None
    (folder / "tuning.json").write_text("{}")
    assert drafter_advice(target, open_checkpoint(folder), "x") is None
