"""Adapters that were trained on a tower, too: what an export makes of them beside what PEFT does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.lora.adapter import open_adapter
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.options import ExportOptions
from exporter.plan.export_plan import make_plan
from exporter.progress import SilentReporter
from exporter.weights.matching import unused_tensors
from tests.adapters import make_adapter, save_merged
from tests.vision.eager import stored_values

ROUNDING = 1e-6


def merged_as_peft_does(
    target: Path, folder: Path, modules: str, options: ExportOptions
) -> tuple[list[str], list[str]]:
    """Train an adapter, in ``folder / "adapter"``, and compare the towers' weights with PEFT's merging.

    Args:
        target: A checkpoint with a tower.
        folder: Where adapter and merged checkpoint go.
        modules: A pattern of the modules that the adapter changes.
        options: Of the export.

    Returns:
        The weights of towers that the adapter changes, and the tensors that no graph uses.
    """
    model = make_adapter(target, folder / "adapter", target_modules=modules)
    merged = save_merged(model, target, folder / "merged")
    checkpoint = open_checkpoint(target)
    adapted = replace(checkpoint, adapter=open_adapter(folder / "adapter"))
    ours, unused = tower_values(adapted, folder / "x.litertlm", options)
    expected, _ = tower_values(open_checkpoint(merged), folder / "x.litertlm", options)
    before, _ = tower_values(checkpoint, folder / "x.litertlm", options)
    assert ours.keys() == expected.keys()
    for name, array in expected.items():
        assert np.allclose(ours[name], array, rtol=ROUNDING, atol=ROUNDING), name
    return [name for name in ours if not np.array_equal(ours[name], before[name])], unused


def tower_values(
    target: Checkpoint, output: Path, options: ExportOptions
) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    """Every weight of the towers' sections, and what no graph uses."""
    with TensorReader() as reader:
        plan = make_plan(Pair.of(target, None), output, options, reader, SilentReporter())
        weights = plan.with_towers(plan.kept.weights)
        found = {
            f"{section}.{name}": stored_values(weight)
            for tower in plan.towers
            for section in tower.weights
            for name, weight in weights[section].items()
        }
        return found, unused_tensors(target, weights)
