"""Bundles that see, in the stock engine: pictures whose right answer is known, and transformers' answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.integrity import checksums_of
from exporter.bundle.stored_pictures import broken_pictures
from exporter.cli.inspect_bundle import render, to_json
from tests.vision.asking import QUESTIONS, in_engine
from tests.vision.bundles import ANIMALS, FEW_TOKENS

pytestmark = pytest.mark.slow

MODES = ("off", "on")


@pytest.mark.parametrize("mtp", MODES)
def test_the_answer_is_about_what_the_picture_shows(
    planted_bundle: Path, pictures: Path, mtp: str
) -> None:
    """PNG and JPEG, of a few tokens and resized; and none at all."""
    asked: list[Any]
    asked, expected = [[["What does the fox eat?"]]], ["The fox eats berries."]
    for name, animal in ANIMALS.items():
        for file in (f"{name}.png", f"{name}.jpg"):
            for question, answer in QUESTIONS[animal].items():
                before, after = question.split("{}")
                asked.append([[before, pictures / file, after]])
                expected.append(answer)
    assert list(in_engine(planted_bundle, mtp, asked).texts) == expected


@pytest.mark.parametrize("mtp", MODES)
def test_several_pictures(planted_bundle: Path, pictures: Path, mtp: str) -> None:
    """Each stands in its place: in a message, and in the history of one."""
    red, blue = pictures / "red.png", pictures / "blue.jpg"
    fox, cat = "The fox eats berries.", "The cat eats fish."
    asked = [
        [[blue, "What does the", red, " eat?"]],
        [[red, "What does the", blue, " eat?"]],
        [["What does the", red, " eat?"], fox, ["What does the", blue, " eat?"]],
        [["What does the", blue, " eat?"], cat, ["What does the fox eat?"]],
    ]
    assert list(in_engine(planted_bundle, mtp, asked).texts) == [fox, cat, cat, fox]


def test_inspect_shows_what_a_bundle_sees(planted_bundle: Path) -> None:
    inspection = inspect_bundle(planted_bundle)
    assert inspection.problems == ()
    assert inspection.pictures is not None
    assert inspection.pictures.image_tokens == FEW_TOKENS
    assert (
        "pictures: 1, 4 tokens each, from patches of 4 pixels"
        in render(inspection, checksums_of(inspection.bundle, weights=False)).splitlines()
    )
    assert to_json(inspection)["pictures"]["image_tokens"] == FEW_TOKENS
    gemma = inspection.bundle.llm_metadata().llm_model_type.gemma4
    assert (gemma.max_num_patches, gemma.patch_width, gemma.pooling_kernel_size) == (36, 4, 3)
    assert gemma.start_of_image_token.token_str == "<|image>"


def test_graphs_that_do_not_keep_what_the_manifest_says_of_pictures(planted_bundle: Path) -> None:
    inspection = inspect_bundle(planted_bundle)
    found = {name: model.signatures for name, model in inspection.models.items()}
    assert inspection.pictures is not None
    other = replace(inspection.pictures, image_tokens=(1, 9))
    assert broken_pictures(other, found) == [
        "tf_lite_vision_encoder: signature vision_9 is missing",
        "tf_lite_vision_adapter: signature vision_adapter_9 is missing",
    ]
