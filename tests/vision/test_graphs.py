"""Lowered and bound graphs of a tower: LiteRT against transformers, and the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.bundle.graph_reader import GraphReader
from exporter.bundle.signature_check import broken_signatures
from exporter.contract.names import EMBEDDINGS, MASK, Section
from exporter.contract.vision import (
    ADAPTER_PREFIX,
    ENCODER_PREFIX,
    END,
    FEATURES,
    IMAGES,
    POSITIONS,
    VisionContract,
)
from exporter.litertlm.tower_graphs import find_tower_graphs
from exporter.lowering.vision import VisionRequest
from exporter.progress import SilentReporter
from quantize.builtin_recipes import FLOAT32, int8_tower
from quantize.recipe import Recipe
from tests.once import lowering
from tests.vision.conftest import Golden
from tests.vision.eager import EagerVision, load_vision, vision_weights
from tests.vision.graphs import TOKENS, LiteRtTower
from tests.vision.reference_features import PATCHES, SHAPES, SIZES

pytestmark = [
    pytest.mark.slow,
    # The kind that has every operation; the other is run in bundles.
    pytest.mark.parametrize("kind", ["clipped"], indirect=True, scope="session"),
]

TOLERANCE = 5e-5
"""Of the largest magnitude. Both sides are float32; other tiles, another order of sums, another exp():
measured errors are up to 2.1e-5, any of the mistakes that ``test_tower.py`` makes is above 1e-2."""

ROUNDED = 0.35
"""Of the root mean square, with int8 weights: LiteRT rounds activations to 8 bits before each matrix, and
scores of random weights are far apart, so that a softmax makes much of little. Measured: up to 0.24."""

RECIPES = {"float32": FLOAT32, "int8": Recipe("int8", "", (int8_tower("vision"),))}

PICTURES = (*SHAPES, *SIZES)


@pytest.fixture(scope="module")
def contract(vision_target: Path) -> VisionContract:
    config = load_vision(vision_target).config
    return VisionContract(TOKENS, config.patch_size, config.pooling, config.hidden_size, 128)


@pytest.fixture(scope="module")
def eager(vision_target: Path) -> EagerVision:
    return load_vision(vision_target)


@pytest.fixture(scope="module")
def runners(
    eager: EagerVision,
    contract: VisionContract,
    vision_target: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, LiteRtTower]:
    with lowering():
        request = VisionRequest(eager.config, contract)
        graphs = find_tower_graphs(request, SilentReporter(), fresh=False)
    with vision_weights(vision_target) as weights:
        return {
            name: LiteRtTower(
                graphs, contract, weights, recipe, tmp_path_factory.mktemp(f"vision-{name}")
            )
            for name, recipe in RECIPES.items()
        }


def encoded(runner: LiteRtTower, golden: Golden, name: str) -> tuple[NDArray[np.float32], int]:
    """Features of a picture, and how many of them the mask says are its own."""
    images, positions = golden[f"{name}.images"][None], golden[f"{name}.positions"][None]
    tokens = TOKENS[0] if images.shape[1] == PATCHES else TOKENS[1]
    inputs = {IMAGES: images, POSITIONS: positions.astype(np.int32)}
    found = runner.run(Section.VISION_ENCODER, f"{ENCODER_PREFIX}{tokens}", inputs)
    mask = found[MASK][0].tolist()
    assert mask == sorted(mask, reverse=True)
    return found[FEATURES], sum(mask)


def error(ours: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    assert ours.shape == reference.shape
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


@pytest.mark.parametrize("recipe", RECIPES)
def test_signatures_keep_the_contract(
    runners: dict[str, LiteRtTower], contract: VisionContract, recipe: str
) -> None:
    found = {
        section.value: GraphReader(path.read_bytes(), "").signatures()
        for section, path in runners[recipe].files.items()
    }
    assert broken_signatures(contract.section_signatures(), found) == []


@pytest.mark.parametrize("name", PICTURES)
def test_encoder_is_transformers(
    runners: dict[str, LiteRtTower], vision_golden: Golden, name: str
) -> None:
    features, count = encoded(runners["float32"], vision_golden, name)
    assert error(features[0, :count], vision_golden[f"{name}.features"]) <= TOLERANCE


@pytest.mark.parametrize("name", PICTURES)
def test_adapter_is_transformers(
    runners: dict[str, LiteRtTower], vision_golden: Golden, name: str
) -> None:
    features, count = encoded(runners["float32"], vision_golden, name)
    signature = f"{ADAPTER_PREFIX}{features.shape[1]}"
    found = runners["float32"].run(Section.VISION_ADAPTER, signature, {FEATURES: features})
    assert error(found[EMBEDDINGS][0, :count], vision_golden[f"{name}.embeddings"]) <= TOLERANCE


@pytest.mark.parametrize("name", PICTURES)
def test_int8_is_near(runners: dict[str, LiteRtTower], vision_golden: Golden, name: str) -> None:
    features, count = encoded(runners["int8"], vision_golden, name)
    expected = vision_golden[f"{name}.features"]
    noise = np.sqrt(np.square(features[0, :count] - expected).mean() / np.square(expected).mean())
    assert 0 < noise <= ROUNDED


@pytest.mark.parametrize("recipe", RECIPES)
def test_end_is_a_constant(
    runners: dict[str, LiteRtTower], eager: EagerVision, recipe: str
) -> None:
    """Also in an int8 bundle: it is no matrix."""
    found = runners[recipe].run(Section.END_OF_VISION, END, {})
    assert np.array_equal(found[EMBEDDINGS], eager.end)


def test_signatures_share_one_copy_of_each_weight(runners: dict[str, LiteRtTower]) -> None:
    """Two budgets in int8 take less than one in float32, and no more than a quarter and the graphs."""
    sizes = {
        recipe: runner.files[Section.VISION_ENCODER].stat().st_size
        for recipe, runner in runners.items()
    }
    constants = GraphReader(
        runners["float32"].files[Section.VISION_ENCODER].read_bytes(), ""
    ).constants()
    named = [c.name for c in constants if c.name.startswith("vision.")]
    assert len(named) == len(set(named)) > 20
    assert sizes["int8"] < 0.7 * sizes["float32"]
