"""An adapter that was trained on the vision tower, too: merged as PEFT merges it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.lora.adapter import open_adapter
from exporter.contract.names import Section
from exporter.options import ExportOptions
from quantize.builtin_recipes import RECIPES
from tests.tower_adapters import merged_as_peft_does, tower_values
from tests.vision.targets import CLIPPED, random_tower, write_target

MODULES = (
    r".*(vision_tower\.(encoder\..*\.linear|patch_embedder\.input_proj)|embedding_projection"
    r"|language_model.*q_proj)"
)


def test_an_adapter_of_the_tower_is_merged(tmp_path: Path) -> None:
    target = write_target(tmp_path / "target", CLIPPED, random_tower(CLIPPED, seed=7))
    options = ExportOptions(RECIPES["float32"], image_tokens=(16,))
    changed, unused = merged_as_peft_does(target, tmp_path, MODULES, options)
    assert len(changed) == 7 * CLIPPED["num_hidden_layers"] + 2
    assert not [name for name in unused if "vision" in name]
    assert f"{Section.VISION_ADAPTER}.embedding_projection.weight" in changed
    _is_known_without_the_wrappers(target, tmp_path, options)


def _is_known_without_the_wrappers(target: Path, folder: Path, options: ExportOptions) -> None:
    """PEFT refuses the wrapper of a tower's layers; many train with these replaced by the layer within."""
    weights = folder / "adapter" / "adapter_model.safetensors"

    def values(name: str) -> dict[str, NDArray[np.float32]]:
        adapted = replace(open_checkpoint(target), adapter=open_adapter(folder / "adapter"))
        found, unused = tower_values(adapted, folder / f"{name}.litertlm", options)
        assert not [name for name in unused if "vision" in name]
        return found

    whole = values("whole")
    tensors = load_file(weights)
    renamed = {name.replace(".linear.lora", ".lora"): t for name, t in tensors.items()}
    assert renamed.keys() != tensors.keys()
    save_file(renamed, weights, {"format": "pt"})
    ours = values("renamed")
    assert all(np.array_equal(ours[name], array) for name, array in whole.items())
