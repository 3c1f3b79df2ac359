"""An adapter that was trained on the vision tower, too: merged as PEFT merges it."""

from __future__ import annotations

from pathlib import Path

from exporter.contract.names import Section
from exporter.options import ExportOptions
from quantize.builtin_recipes import RECIPES
from tests.tower_adapters import merged_as_peft_does
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
