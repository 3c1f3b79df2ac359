"""Bundles with one deliberate fault in what sees or hears, made of a sound one by replacing a section.

As in :mod:`tests.verify.bundles`: wrong graphs are lowered from deliberately wrong variants of the torch
modules and kept between runs, or rewired; wrong weights are weights that read wrongly.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from exporter.bundle.reader import open_bundle
from exporter.bundle.stored_contract import stored_contract
from exporter.bundle.stored_pictures import stored_pictures
from exporter.bundle.stored_sound import stored_sound
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.media import Media
from exporter.contract.names import DRAFT_ROUND, Section
from exporter.litertlm.bind import bind
from exporter.litertlm.tower_graphs import find_tower_graphs, graph_kind
from exporter.litertlm.writer import write_bundle
from exporter.lowering.graph_cache import unit_key
from exporter.lowering.merge import Lowered
from exporter.lowering.tower import TowerRequest
from exporter.lowering.units import Unit
from exporter.options import ExportOptions
from exporter.plan.export_plan import make_plan
from exporter.progress import SilentReporter
from exporter.weights.matching import Weight
from exporter.weights.tower_parameters import END_EMBEDDING
from exporter.weights.towers import TableRow
from quantize.recipe import Recipe
from tests.once import kept_graph, lowering
from tests.verify.bundles import MisscaledRow

TowerWeights = Mapping[str, Weight]
Spoil = Callable[[TowerWeights], TowerWeights]


@dataclass(frozen=True)
class Replaced:
    """What stands where, while a faulty graph is traced."""

    module: Any
    name: str
    variant: type


@dataclass(frozen=True)
class SectionFault:
    """What is wrong with a section: its graph, or its weights."""

    section: Section
    graph: Replaced | None = None
    rewired: Callable[[bytes], bytes] = bytes
    """Makes a wrong graph of a right one, in less time than lowering takes."""
    weights: Spoil = dict


def misscaled(name: str) -> Spoil:
    """One row of one weight has a wrong scale."""
    return lambda weights: {**weights, name: MisscaledRow(**vars(weights[name]))}


def next_row(weights: TowerWeights) -> TowerWeights:
    """The embedding at the end is the next token's."""
    end = weights[END_EMBEDDING]
    assert isinstance(end.ready, TableRow)
    wrong = replace(end.ready, row=end.ready.row + 1)
    return {END_EMBEDDING: replace(end, ready=wrong)}


def spoil(sound: Path, target: Path, fault: SectionFault, folder: Path, recipe: Recipe) -> Path:
    """A bundle as ``sound``, which was made of ``target``, with a fault.

    The section that has the fault is stored as ``recipe`` says.
    """
    bundle = open_bundle(sound)
    manifest = bundle.manifest()
    assert manifest is not None
    media = Media(stored_pictures(manifest), stored_sound(manifest))
    for entry in bundle.sections:
        if name := DRAFT_ROUND if entry == bundle.draft_round else entry.model_type:
            (folder / name).write_bytes(bundle.read(entry))
    manifest = {**manifest, "recipe": {"name": recipe.name, "rules": recipe.to_json()}}
    options = ExportOptions(
        recipe,
        image_tokens=media.pictures.image_tokens if media.pictures else None,
        audio_seconds=round(media.sound.seconds) if media.sound else None,
    )
    with TensorReader() as reader:
        pair = Pair.of(open_checkpoint(target), None)
        plan = make_plan(pair, folder / "x.litertlm", options, reader, SilentReporter())
        (tower,) = (t for t in (plan.vision, plan.audio) if t and fault.section in t.weights)
        graph = _graph(tower.request, fault)
        with (folder / fault.section.value).open("wb") as stream:
            bind(graph, fault.weights(tower.weights[fault.section]), recipe, stream)
    contract = stored_contract(sound, manifest)
    return write_bundle(folder, plan.assets, contract, manifest, media)


def _graph(request: TowerRequest, fault: SectionFault) -> bytes:
    """One section, lowered now or in an earlier run if the fault is in it."""
    if fault.graph is None:
        with lowering():
            graphs = find_tower_graphs(request, SilentReporter(), fresh=False)
        return fault.rewired(graphs.sections[fault.section])
    units = [unit for unit in request.units() if unit.section is fault.section]
    lowered = {unit: _lowered(request, unit, fault.graph) for unit in units}
    return Lowered.of(lowered).sections[fault.section]


def _lowered(request: TowerRequest, unit: Unit, replaced: Replaced) -> bytes:
    def lower() -> bytes:
        import litert_torch

        with patch.object(replaced.module, replaced.name, replaced.variant):
            signature = importlib.import_module(request.maker).unit_signature(request, unit)
            model = litert_torch.signature(
                signature.name, signature.module.eval(), sample_kwargs=signature.example()
            ).convert()
        content: bytes = model.model_content()
        return content

    code = inspect.getsource(replaced.variant)
    source = hashlib.sha256(code.encode()).hexdigest()[:8]
    key = unit_key(request, unit, graph_kind(request))
    return kept_graph(f"{key}-{source}-{replaced.variant.__name__}", lower)
