"""An adapter that was trained on the audio tower, too: merged as PEFT merges it."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from exporter.checkpoints.lora.adapter import open_adapter
from exporter.contract.names import Section
from exporter.errors import CheckpointError
from exporter.options import ExportOptions
from quantize.builtin_recipes import RECIPES
from tests.audio.targets import CLIPPED, add_tower, listening, random_tower
from tests.tower_adapters import merged_as_peft_does

MODULES = (
    r".*(audio_tower\.(.*\.linear|.*input_proj_linear|.*relative_k_proj|output_proj)"
    r"|embed_audio\.embedding_projection|language_model.*q_proj)"
)


def test_an_adapter_of_the_tower_is_merged(tmp_path: Path) -> None:
    """Also into the matrix that keys of distances are made of."""
    target = listening(tmp_path / "target")
    add_tower(target, CLIPPED, random_tower(CLIPPED, seed=7))
    options = ExportOptions(RECIPES["float32"], vision=False)
    changed, unused = merged_as_peft_does(target, tmp_path, MODULES, options)
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
