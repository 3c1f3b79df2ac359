"""Pictures in the reference runtime: the stock engine's answers, and what becomes of a file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from exporter.contract.vision import VisionContract
from exporter.errors import BundleError
from exporter.pip_install import pip_install
from runtime_py.chat.conversation import as_message
from runtime_py.chat.media import MediaError, Medium
from runtime_py.loop.speculative import Fixed
from runtime_py.media.picture_file import picture_patches
from runtime_py.opened_model import OpenedModel, open_model
from tests.command import run, run_without
from tests.export.command import refused
from tests.vision.asking import (
    HARDWARE,
    NEW_TOKENS,
    SLOTS,
    conversation,
    in_engine,
    in_reference,
    prompt_lengths,
)
from tests.vision.bundles import ANIMALS, EXACT
from tests.vision.reference_features import drawn

DRAFTS = (0, 3)

ODD = ((100, 37), (13, 50), (5, 90), (3, 1000), (640, 480))
"""Sizes that have to be changed: to other shapes, one square wide, up and down."""


@pytest.fixture(scope="module")
def planted(planted_bundle: Path) -> Iterator[OpenedModel]:
    with open_model(planted_bundle, HARDWARE, cache_length=SLOTS, media=[Medium.IMAGE]) as model:
        yield model


@pytest.mark.parametrize("drafts", DRAFTS)
def test_answers_are_the_engines(
    planted_bundle: Path, planted: OpenedModel, pictures: Path, drafts: int
) -> None:
    """PNG and JPEG, several pictures and pictures in the history; prompts have as many tokens."""
    asked: list[Any] = [
        [["What does the", pictures / f"{colour}.{form}", " eat?"]]
        for colour in ANIMALS
        for form in ("png", "jpg")
    ]
    red, blue = pictures / "red.png", pictures / "blue.jpg"
    asked += [
        [[blue, "What does the", red, " eat?"]],
        [
            ["What does the", red, " eat?"],
            "The fox eats berries.",
            ["What does the", blue, " eat?"],
        ],
    ]
    expected = in_engine(planted_bundle, "on" if drafts else "off", asked)
    found = in_reference(planted, drafts, asked)
    assert found.texts == expected.texts
    assert prompt_lengths(found) == prompt_lengths(expected)


def test_answers_about_details_are_the_engines(
    random_pair: tuple[Path, Path], pictures: Path, tmp_path: Path
) -> None:
    """A random tower sees every pixel, and what it sees moves every token of the answer."""
    _, bundle = random_pair
    asked: list[Any] = [
        [["What does the", pictures / f"{width}x{height}.png", " eat?"]] for width, height in EXACT
    ]
    two = [pictures / f"{width}x{height}.png" for width, height in EXACT[:2]]
    asked.append([["Where does the", *two, " live?"]])
    exact = len(asked)
    for width, height in ODD:
        drawn(width, height).save(path := tmp_path / f"{width}x{height}.png")
        asked.append([[path, "Where?"]])
    expected = in_engine(bundle, "off", asked)
    with open_model(bundle, HARDWARE, cache_length=SLOTS, media=[Medium.IMAGE]) as model:
        for drafts in DRAFTS:
            found = in_reference(model, drafts, asked)
            assert found.texts[:exact] == expected.texts[:exact]
            assert prompt_lengths(found) == prompt_lengths(expected)
    assert len(set(expected.texts[:exact])) > 1


def test_turns_share_the_pictures_that_are_equal(planted: OpenedModel, pictures: Path) -> None:
    red, blue = (
        as_message(conversation([["What does the", pictures / name, " eat?"]]).turns[0])
        for name in ("red.png", "blue.jpg")
    )
    session = planted.session(policy=Fixed(3))
    assert session.answer(red, NEW_TOKENS).text == "The fox eats berries."
    again = session.answer(red, NEW_TOKENS)
    assert again.text == "The fox eats berries."
    assert again.reused_tokens > session.committed.index(-5)  # -1 to -4 are red, -5 its end
    assert -6 not in map(int, session.committed)
    answer = session.answer(blue, NEW_TOKENS)
    assert answer.text == "The cat eats fish."
    assert min(session.committed) == -8  # a JPEG of two tokens, and its end


def test_generate_in_the_reference_runtime(planted_bundle: Path, pictures: Path) -> None:
    asked = ["-p", "What does the<|image|> eat?", "--image", str(pictures / "red.jpg")]
    reference = [str(planted_bundle), *asked, "--runtime", "reference"]
    done = run("generate", *reference, "--image-tokens", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The fox eats berries.\n"
    refused(
        run("generate", *reference, "--image-tokens", "5"),
        "expected a budget of at most 4 tokens for a picture, found 5",
    )
    refused(run_without(("PIL",), "generate", *reference), f"{pip_install('images')}")


def test_a_bundle_of_text(tiny_bundles: dict[str, Path]) -> None:
    with (
        pytest.raises(BundleError, match="expected a bundle that takes pictures"),
        open_model(tiny_bundles["int8"], HARDWARE, media=[Medium.IMAGE]),
    ):
        pass


CONTRACT = VisionContract((1, 4), patch_size=4, pooling=3, width=48, hidden_size=128)


def stored(picture: Image.Image, form: str = "png") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form)
    return stream.getvalue()


def colours(picture: Image.Image) -> NDArray[np.float32]:
    """The colours ``[P, pixels, 3]`` of the patches of a picture that is given 24 x 24 pixels."""
    patches = picture_patches(stored(picture), CONTRACT, 4)
    return patches.colours.reshape(len(patches.colours), -1, 3) * 255


def test_patches_are_cut_row_by_row() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    patches = picture_patches(stored(Image.fromarray(pixels)), CONTRACT, 4)
    assert patches.places.tolist() == [[x, y] for y in range(6) for x in range(6)]
    for (x, y), patch in zip(patches.places, patches.colours, strict=True):
        square = pixels[4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
        np.testing.assert_array_equal(
            patch, square.ravel().astype(np.float32) * np.float32(1 / 255)
        )


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (24, 24), 77), (77, 77, 77)),
        (Image.new("RGBA", (24, 24), (10, 20, 30, 0)), (10, 20, 30)),
        (Image.new("RGB", (24, 24), (51, 102, 0)).convert("P"), (51, 102, 0)),
        (Image.new("I;16", (24, 24), 77 * 256 + 200), (77, 77, 77)),
        (Image.new("RGB", (9, 9), (10, 20, 30)), (10, 20, 30)),
        (Image.new("RGB", (99, 99), (200, 20, 30)), (200, 20, 30)),
    ],
)
def test_every_kind_of_picture_becomes_rgb(
    picture: Image.Image, expected: tuple[int, int, int]
) -> None:
    np.testing.assert_allclose(colours(picture), np.broadcast_to(expected, (36, 16, 3)), atol=0.01)


def test_resizing_is_done_in_linear_light() -> None:
    """Half of black and white is 188 in sRGB's terms, not 128."""
    lines = np.zeros((96, 96, 3), np.uint8)
    lines[::2] = 255
    shown = colours(Image.fromarray(lines)).reshape(6, 6, 4, 4, 3)
    assert np.abs(shown[2:4] - 188).max() <= 1


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_damaged_files_are_refused(form: str) -> None:
    content = stored(drawn(48, 48), form)
    with pytest.raises(MediaError, match="expected a PNG or JPEG that can be decoded"):
        picture_patches(content[: len(content) // 2], CONTRACT, 4)
