"""Bundles of the tiny pair with one deliberate fault each, and the sound one they are made from.

Wrong graphs are those of :mod:`tests.verify.faulty_graphs`; wrong weights are weights that read wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.assets.assets import read_assets
from exporter.checkpoints.checkpoint import hash_files
from exporter.checkpoints.tensors.tensor_names import TOKEN_ORDERING
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.media import TEXT_ONLY
from exporter.contract.names import Section
from exporter.litertlm.graphs import LitertGraphs
from exporter.litertlm.writer import write_bundle
from exporter.manifest import build_manifest, source_block
from exporter.weights.matching import Weight, Weights, find_weights
from exporter.weights.parameters import parameter_specs
from quantize.builtin_recipes import RECIPES
from tests.verify.faulty_graphs import Fault, agreed, lowered, tiny_pair

SCALED = "layers.2.mlp.up_proj.weight"
SCALED_ROW, WRONG_FACTOR = 5, 1.5


class ShiftedOrdering(Weight):
    """Still a permutation, of the wrong clusters."""

    def ordering(self) -> NDArray[np.int32]:
        return np.roll(super().ordering(), 1, axis=0)


class MisscaledRow(Weight):
    """What a row's wrong scale stands for: every value of it times a factor."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        for block in super().blocks():
            block[SCALED_ROW] *= WRONG_FACTOR
            yield block


def make_bundle(fault: Fault, folder: Path, recipe_name: str | None = None) -> Path:
    """A bundle with one fault; by itself in float32, or in int8 where the fault is a scale."""
    recipe = RECIPES[recipe_name or ("int8" if fault is Fault.SCALE else "float32")]
    pair, wanted = tiny_pair(), agreed()
    checkpoints = {"target": pair.target, "drafter": pair.drafter}
    specs = parameter_specs(pair.target_config, pair.drafter_config, HeadKind.CENTROID)
    graphs = LitertGraphs(lowered(fault))
    with TensorReader() as reader:
        weights = _spoilt(find_weights(specs, pair.target, pair.drafter, reader), fault)
        stored = graphs.bind(weights, recipe, folder, lambda count: None)
    manifest = build_manifest(
        sources={
            role: source_block(c, hash_files(c.source_files(), lambda count: None), [])
            for role, c in checkpoints.items()
            if c is not None
        },
        recipe={"name": recipe.name, "rules": recipe.to_json()},
        options={"drafter_head": HeadKind.CENTROID.value},
        contract=wanted,
        graphs={"key": "", "lowered_with": {}},
        stored=stored,
        trained_codes={},
        media=TEXT_ONLY,
    )
    assets = read_assets(pair.target, pair.target_config)
    finished = write_bundle(folder, assets, wanted, manifest)
    return finished.replace(folder / f"{fault.name.lower()}.litertlm")


def _spoilt(weights: Weights, fault: Fault) -> Weights:
    spoilt = {section: dict(found) for section, found in weights.items()}
    if fault is Fault.ORDERING:
        drafter = spoilt[Section.MTP_DRAFTER]
        drafter[TOKEN_ORDERING] = ShiftedOrdering(**vars(drafter[TOKEN_ORDERING]))
    if fault is Fault.SCALE:
        target = spoilt[Section.PREFILL_DECODE]
        target[SCALED] = MisscaledRow(**vars(target[SCALED]))
    return spoilt
