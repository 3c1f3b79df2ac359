"""Bundles that see, with one deliberate fault each, made of a sound one by replacing a section.

As in :mod:`tests.verify.bundles`: wrong graphs are lowered from deliberately wrong variants of the torch
modules and kept between runs, wrong weights are weights that read wrongly.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from exporter.bundle.reader import open_bundle
from exporter.bundle.stored_contract import stored_contract
from exporter.bundle.stored_pictures import stored_pictures
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.media import Media
from exporter.contract.names import DRAFT_ROUND, Section
from exporter.litertlm.bind import bind
from exporter.litertlm.tower_graphs import find_tower_graphs, graph_kind
from exporter.litertlm.writer import write_bundle
from exporter.lowering import vision_signatures
from exporter.lowering.graph_cache import default_folder, unit_key
from exporter.lowering.merge import Lowered
from exporter.lowering.units import Unit
from exporter.lowering.vision import VisionRequest
from exporter.model.clipped_linear import ClippedLinear
from exporter.model.vision import layers, tower
from exporter.model.vision.layers import Patches
from exporter.model.vision.places import Places
from exporter.model.vision.tower import Features, VisionTower
from exporter.options import ExportOptions
from exporter.plan.export_plan import make_plan
from exporter.progress import SilentReporter
from exporter.weights.matching import Weight
from exporter.weights.tower_parameters import END_EMBEDDING
from exporter.weights.towers import TableRow
from quantize.recipe import Recipe
from tests.once import lowering
from tests.verify.bundles import MisscaledRow

SCALED = "layers.1.mlp.up_proj.linear.weight"
CLIP = "layers.1.self_attn.v_proj"


class PictureFault(enum.Enum):
    """What is wrong with a bundle that sees."""

    PADDING = "padding is attended to"
    SWAPPED = "x and y are swapped"
    UNCLIPPED = "nothing is clipped"
    BOUNDS = "the bounds of a clip's input stand at its output, and the other way round"
    END = "the end of a picture is another token's embedding"
    SCALE = "one row of one weight has a wrong scale"


class SeeingPatches(Patches):
    """Hides nothing."""

    @staticmethod
    def at(places: Places, config: VisionConfig) -> Patches:
        found = Patches.at(places, config)
        return replace(found, hidden=found.hidden * 0.0)


class SwappedTower(VisionTower):
    """Takes y for x."""

    def forward(self, images: Tensor, positions: Tensor) -> Features:
        return super().forward(images, torch.cat([positions[:, :, 1:], positions[:, :, :1]], -1))


class UnclippedLinear(ClippedLinear):
    """Has bounds so far apart that they hold nothing."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.minimum(torch.maximum(x, self.input_min * 1e6), self.input_max * 1e6)
        x = self.linear(x)
        return torch.minimum(torch.maximum(x, self.output_min * 1e6), self.output_max * 1e6)


@dataclass(frozen=True)
class Replaced:
    """What stands where, while a faulty graph is traced."""

    module: Any
    name: str
    variant: type


GRAPH_FAULTS: Mapping[PictureFault, Replaced] = {
    PictureFault.PADDING: Replaced(tower, "Patches", SeeingPatches),
    PictureFault.SWAPPED: Replaced(vision_signatures, "VisionTower", SwappedTower),
    PictureFault.UNCLIPPED: Replaced(layers, "ClippedLinear", UnclippedLinear),
}


def spoil(sound: Path, target: Path, fault: PictureFault, folder: Path, recipe: Recipe) -> Path:
    """A bundle as ``sound``, which was made of ``target``, with a fault.

    The section that has the fault is stored as ``recipe`` says.
    """
    bundle = open_bundle(sound)
    manifest = bundle.manifest()
    assert manifest is not None
    pictures = stored_pictures(manifest)
    assert pictures is not None
    for entry in bundle.sections:
        if name := DRAFT_ROUND if entry == bundle.draft_round else entry.model_type:
            (folder / name).write_bytes(bundle.read(entry))
    manifest = {**manifest, "recipe": {"name": recipe.name, "rules": recipe.to_json()}}
    options = ExportOptions(recipe, image_tokens=pictures.image_tokens)
    section = Section.END_OF_VISION if fault is PictureFault.END else Section.VISION_ENCODER
    with TensorReader() as reader:
        pair = Pair.of(open_checkpoint(target), None)
        plan = make_plan(pair, folder / "x.litertlm", options, reader, SilentReporter())
        assert plan.vision is not None
        graph = _graph(plan.vision.request, section, fault)
        weights = _spoilt(plan.vision.weights[section], fault)
        with (folder / section.value).open("wb") as stream:
            bind(graph, weights, recipe, stream)
    contract = stored_contract(sound, manifest)
    return write_bundle(folder, plan.assets, contract, manifest, Media(pictures))


def _graph(request: VisionRequest, section: Section, fault: PictureFault) -> bytes:
    """One section, lowered now or in an earlier run if the fault is in it."""
    with lowering():
        sound = find_tower_graphs(request, SilentReporter(), fresh=False)
        if fault not in GRAPH_FAULTS:
            return sound.sections[section]
        units = [unit for unit in request.units() if unit.section is section]
        return Lowered.of({unit: _lowered(request, unit, fault) for unit in units}).sections[
            section
        ]


def _lowered(request: VisionRequest, unit: Unit, fault: PictureFault) -> bytes:
    import litert_torch

    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    key = unit_key(request, unit, graph_kind(request))
    kept = default_folder() / f"test-{key}-{source}-{fault.name}.tflite"
    if not kept.is_file():
        replaced = GRAPH_FAULTS[fault]
        with patch.object(replaced.module, replaced.name, replaced.variant):
            signature = vision_signatures.unit_signature(request, unit)
            model = litert_torch.signature(
                signature.name, signature.module.eval(), sample_kwargs=signature.example()
            ).convert()
        kept.write_bytes(model.model_content())
    return kept.read_bytes()


def _spoilt(weights: Mapping[str, Weight], fault: PictureFault) -> dict[str, Weight]:
    spoilt = dict(weights)
    if fault is PictureFault.SCALE:
        spoilt[SCALED] = MisscaledRow(**vars(spoilt[SCALED]))
    if fault is PictureFault.BOUNDS:
        for bound in ("min", "max"):
            inner, outer = f"{CLIP}.input_{bound}", f"{CLIP}.output_{bound}"
            first, second = weights[inner], weights[outer]
            spoilt[inner] = replace(first, ready=second.ready)
            spoilt[outer] = replace(second, ready=first.ready)
    if fault is PictureFault.END:
        end = spoilt[END_EMBEDDING]
        assert isinstance(end.ready, TableRow)
        spoilt[END_EMBEDDING] = replace(end, ready=replace(end.ready, row=end.ready.row + 1))
    return spoilt
