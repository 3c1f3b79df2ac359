"""Our tower and adapter against unmodified transformers, through the golden file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.contract.names import Section
from exporter.lowering.signatures import parameter_specs
from exporter.model.clipped_linear import ClippedLinear
from exporter.model.vision.layers import Patches
from exporter.model.vision.places import Places
from exporter.model.vision.tower import VisionAdapter, VisionTower, pooling_weights
from exporter.weights.vision_parameters import vision_parameter_specs
from tests.vision.conftest import Golden
from tests.vision.eager import EagerVision, load_vision
from tests.vision.reference_features import SHAPES, SIZES

TOLERANCE = 2e-6
"""Of the largest magnitude. Both sides are float32 and differ in the order of sums only."""

OTHER_WAVES = 1e-5
"""Where cosines come from NumPy, which differ in the last bit: up to 4e-6 in towers whose clips bite."""

MISTAKE = 1e-2
"""What any of the mistakes below moves at the least."""

PICTURES = (*SHAPES, *SIZES)
PADDED = ("narrow", "wide", "small", "landscape", "portrait", "strip")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def eager(vision_target: Path) -> EagerVision:
    return load_vision(vision_target)


def picture(golden: Golden, name: str) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(golden[f"{name}.images"])[None]
    return images, torch.from_numpy(golden[f"{name}.positions"])[None].int()


def error(ours: Tensor, reference: NDArray[Any]) -> float:
    expected = torch.from_numpy(reference)
    assert ours.shape == expected.shape
    return float((ours - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", PICTURES)
def test_tower_is_transformers(eager: EagerVision, vision_golden: Golden, name: str) -> None:
    """Valid tokens come first, and the mask says how many they are."""
    found = eager.tower(*picture(vision_golden, name))
    count = len(vision_golden[f"{name}.features"])
    assert found.mask.tolist() == [[index < count for index in range(found.mask.shape[1])]]
    assert error(found.features[0, :count], vision_golden[f"{name}.features"]) <= TOLERANCE


@pytest.mark.parametrize("name", PICTURES)
def test_adapter_is_transformers(eager: EagerVision, vision_golden: Golden, name: str) -> None:
    features = torch.from_numpy(vision_golden[f"{name}.features"])[None]
    assert error(eager.adapter(features)[0], vision_golden[f"{name}.embeddings"]) <= TOLERANCE


@pytest.mark.parametrize("name", PICTURES)
def test_form_for_gpus_is_transformers(
    eager: EagerVision, vision_golden: Golden, name: str
) -> None:
    """From pixels to embeddings: in between, its features have a scale of their own."""
    features = eager.gpu_tower(*picture(vision_golden, name)).features
    expected = vision_golden[f"{name}.embeddings"]
    found = eager.gpu_adapter(features)[0, : len(expected)]
    assert error(found, expected) <= OTHER_WAVES


def test_features_for_gpus_are_small_where_they_can_be(
    eager: EagerVision, vision_golden: Golden
) -> None:
    """Standardised ones have the scale that their bias has."""
    images, positions = picture(vision_golden, "square")
    features = eager.gpu_tower(images, positions).features
    factor = 1.0 if eager.config.standardised else eager.config.hidden_size**0.5
    assert error(features * factor, eager.tower(images, positions).features.numpy()) <= OTHER_WAVES


@pytest.mark.parametrize("name", PADDED)
def test_padding_is_never_looked_at(eager: EagerVision, vision_golden: Golden, name: str) -> None:
    """Whatever lies there; and the pictures are such that looking would show."""
    images, positions = picture(vision_golden, name)
    padding = positions[0, :, 0] < 0
    assert padding.any()
    expected = eager.tower(images, positions)
    dirty = images.clone()
    dirty[:, padding] = 37.0
    count = int(expected.mask.sum())
    assert torch.equal(
        eager.tower(dirty, positions).features[:, :count], expected.features[:, :count]
    )


@pytest.mark.parametrize("name", PADDED)
def test_looking_at_padding_would_show(
    eager: EagerVision, vision_golden: Golden, name: str
) -> None:
    """A mask of zeros, as another exporter has it, is far outside the tolerance."""
    images, positions = picture(vision_golden, name)
    places = Places(positions)
    patches = Patches.at(places, eager.config)
    seen = replace(patches, hidden=torch.zeros_like(patches.hidden))
    x = eager.tower.patch_embedder(images, places)
    for layer in eager.tower.layers:
        x = layer(x, seen)
    features = eager.tower.pooled(x, positions.float(), images.shape[1] // 9)
    reference = vision_golden[f"{name}.features"]
    assert error(features[0, : len(reference)], reference) > MISTAKE


@pytest.mark.parametrize("name", ["square", "wide", "landscape"])
def test_x_and_y_are_not_alike(eager: EagerVision, vision_golden: Golden, name: str) -> None:
    images, positions = picture(vision_golden, name)
    features = eager.tower(images, positions.flip(-1)).features
    reference = vision_golden[f"{name}.features"]
    assert error(features[0, : len(reference)], reference) > MISTAKE


@pytest.mark.parametrize("kind", ["clipped"], indirect=True, scope="session")
def test_every_bound_of_every_clip_bites(eager: EagerVision, vision_golden: Golden) -> None:
    """A tower without it gives other features."""
    images, positions = picture(vision_golden, "square")
    expected = eager.tower(images, positions).features
    clips = [(n, m) for n, m in eager.tower.named_modules() if isinstance(m, ClippedLinear)]
    assert len(clips) == 7 * eager.config.layer_count
    for name, module in clips:
        for bound in ("input_min", "input_max", "output_min", "output_max"):
            parameter = module.get_parameter(bound)
            kept = parameter.clone()
            parameter.mul_(1e6)
            changed = eager.tower(images, positions).features
            parameter.copy_(kept)
            assert not torch.equal(changed, expected), f"{name}.{bound}"


def test_pooling_counts_squares_over_the_pictures_own_width() -> None:
    """Two squares across and one down, the rest padding: each patch has a ninth of its square."""
    across = torch.arange(18)
    places = torch.full((1, 36, 2), -1.0)
    places[0, :18] = torch.stack([across % 6, across // 6], dim=-1).float()
    weights = pooling_weights(places, 4, 3)
    expected = torch.zeros(4, 36)
    for patch in range(18):
        expected[(patch % 6) // 3, patch] = 1 / 9
    assert torch.allclose(weights[0], expected)


def test_specs_are_the_modules_parameters(eager: EagerVision) -> None:
    """In names, shapes, types and order."""
    specs = vision_parameter_specs(eager.config, 128)
    with torch.device("meta"):
        tower, adapter = VisionTower(eager.config), VisionAdapter(eager.config, 128)
    assert sorted(parameter_specs(tower).items()) == sorted(specs[Section.VISION_ENCODER].items())
    assert parameter_specs(adapter) == specs[Section.VISION_ADAPTER]


def test_end_of_a_picture_is_its_tokens_embedding(eager: EagerVision, vision_target: Path) -> None:
    """As the text model scales it."""
    from safetensors.torch import load_file

    table = load_file(vision_target / "model.safetensors")[
        "model.language_model.embed_tokens.weight"
    ]
    expected = table[61].float() * 128**0.5
    assert np.array_equal(eager.end[0, 0], expected.numpy())
