"""An adapter that was trained on the audio tower, too: merged as PEFT merges it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.lora.adapter import open_adapter
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.errors import CheckpointError
from exporter.options import ExportOptions
from exporter.plan.export_plan import make_plan
from exporter.progress import SilentReporter
from exporter.weights.matching import unused_tensors
from quantize.builtin_recipes import RECIPES
from tests.adapters import make_adapter, save_merged
from tests.audio.targets import CLIPPED, add_tower, listening, random_tower
from tests.vision.eager import stored_values

MODULES = (
    r".*(audio_tower\.(.*\.linear|.*input_proj_linear|.*relative_k_proj|output_proj)"
    r"|embed_audio\.embedding_projection|language_model.*q_proj)"
)

ROUNDING = 1e-6


def values(target: Checkpoint, output: Path) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    """Every weight of the sections for sound, and what no graph uses."""
    options = ExportOptions(RECIPES["float32"])
    with TensorReader() as reader:
        plan = make_plan(Pair.of(target, None), output, options, reader, SilentReporter())
        assert plan.audio is not None
        weights = plan.with_towers(plan.kept.weights)
        found = {
            f"{section}.{name}": stored_values(weight)
            for section in plan.audio.weights
            for name, weight in weights[section].items()
        }
        return found, unused_tensors(target, weights)


def test_an_adapter_of_the_tower_is_merged(tmp_path: Path) -> None:
    """Also into the matrix that keys of distances are made of."""
    target = listening(tmp_path / "target")
    add_tower(target, CLIPPED, random_tower(CLIPPED, seed=7))
    model = make_adapter(target, tmp_path / "adapter", target_modules=MODULES)
    merged = save_merged(model, target, tmp_path / "merged")
    checkpoint = open_checkpoint(target)
    adapted = replace(checkpoint, adapter=open_adapter(tmp_path / "adapter"))
    ours, unused = values(adapted, tmp_path / "x.litertlm")
    expected, _ = values(open_checkpoint(merged), tmp_path / "x.litertlm")
    before, _ = values(checkpoint, tmp_path / "x.litertlm")
    assert ours.keys() == expected.keys()
    for name, array in expected.items():
        assert np.allclose(ours[name], array, rtol=ROUNDING, atol=ROUNDING), name
    changed = [name for name in ours if not np.array_equal(ours[name], before[name])]
    assert len(changed) == (10 + 1) * CLIPPED["num_hidden_layers"] + 3
    assert not [name for name in unused if "audio" in name]
    assert f"{Section.AUDIO_ENCODER}.layers.1.self_attn.relative_keys" in changed
    _refuses_factors_of_a_convolution(tmp_path / "adapter")


def _refuses_factors_of_a_convolution(adapter: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    tensors = load_file(weights)
    name = next(n for n in tensors if "output_proj.lora_A" in n)
    tensors[name] = tensors[name][:, :, None, None]
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(CheckpointError, match="factors of a convolution cannot be merged here"):
        open_adapter(adapter)
