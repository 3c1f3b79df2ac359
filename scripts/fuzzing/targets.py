"""The targets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fuzzing import bundle_targets, checkpoint_targets, hub_target, talk_targets
from fuzzing.target import Target

TARGETS: Mapping[str, Callable[[Path], Target]] = {
    "adapters": checkpoint_targets.adapters,
    "bundles": bundle_targets.bundles,
    "chat": talk_targets.chat,
    "configs": checkpoint_targets.configs,
    "gpu": bundle_targets.gpu,
    "hub": hub_target.hub,
    "onnx": bundle_targets.onnx_folder,
    "pictures": talk_targets.pictures,
    "qat": checkpoint_targets.qat,
    "recipes": checkpoint_targets.recipes,
    "safetensors": checkpoint_targets.safetensors,
    "sounds": talk_targets.sounds,
    "templates": talk_targets.templates,
}
"""Each makes its target in a folder of its own, which has to be there."""
