"""Bundles that see, in the stock engine: pictures whose right answer is known, and transformers' answers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tokenizers import Tokenizer

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.stored_pictures import broken_pictures
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.cli.inspect_bundle import render, to_json
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from tests.bundles import DRAFT_LENGTH, TINY_DRAFTER, TINY_TARGET
from tests.once import lowering, made_once, shared_folder
from tests.vision.reference_features import drawn
from tests.vision.targets import (
    CLIPPED,
    COLOURS,
    PLANTED,
    planted_tower,
    random_tower,
    write_target,
)

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
MODES = ("off", "on")

ANIMALS = {"red": "fox", "green": "frog", "blue": "cat"}
QUESTIONS = {
    animal: {
        "What does the{} eat?": f"The {animal} eats {food}.",
        "Please tell me. Where does the{} live?": f"The {animal} lives in a {home}.",
        "What colour is the{}?": f"The {animal} is {colour}.",
        "What sound does the{} make?": f"The {animal} {sound}.",
    }
    for animal, food, home, colour, sound in (
        ("fox", "berries", "den", "red", "barks"),
        ("frog", "flies", "pond", "green", "croaks"),
        ("cat", "fish", "cottage", "black", "purrs"),
    )
}
"""With the right answers, which do not depend on the picture's own colours."""

FEW_TOKENS = (1, 4)
TOKENS = (16,)
EXACT = ((48, 48), (72, 24), (24, 96))
"""Sizes in pixels that the engine leaves as they are: the largest of their shape within 144 patches."""


def token_of(animal: str) -> int:
    token = Tokenizer.from_file(str(TINY_TARGET / "tokenizer.json")).token_to_id(f"▁{animal}")
    assert token is not None
    return token


def exported(target: Path, output: Path, recipe: str, image_tokens: tuple[int, ...]) -> None:
    options = ExportOptions(RECIPES[recipe], draft_length=DRAFT_LENGTH, image_tokens=image_tokens)
    with lowering():
        export(open_checkpoint(target), open_checkpoint(TINY_DRAFTER), output, options)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each colour as a PNG that is one token and as a JPEG that has to be resized; and drawn ones."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for name, colour in COLOURS.items():
            Image.new("RGB", (12, 12), colour).save(folder / f"{name}.png")
            Image.new("RGB", (640, 480), colour).save(folder / f"{name}.jpg", quality=95)
        for width, height in EXACT:
            drawn(width, height).save(folder / f"{width}x{height}.png")

    return made_once(shared_folder(tmp_path_factory) / "pictures", make)


@pytest.fixture(scope="module")
def planted_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tower that takes red for a fox, green for a frog and blue for a cat; int8."""

    def make(output: Path) -> None:
        tokens = {colour: token_of(animal) for colour, animal in ANIMALS.items()}
        target = write_target(output.with_suffix(".target"), PLANTED, planted_tower(tokens))
        exported(target, output, "int8", FEW_TOKENS)

    return made_once(shared_folder(tmp_path_factory) / "planted.litertlm", make)


@pytest.fixture(scope="module", params=["own", "frog"])
def random_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A target with a random tower and its bundle, float32; the end of a picture as it is, or a frog's."""
    end = None if request.param == "own" else token_of(request.param)
    folder = shared_folder(tmp_path_factory)

    def target(path: Path) -> None:
        write_target(path, CLIPPED, random_tower(CLIPPED, seed=3), end)

    checkpoint = made_once(folder / f"seeing-{request.param}", target)

    def bundle(path: Path) -> None:
        exported(checkpoint, path, "float32", TOKENS)

    return checkpoint, made_once(folder / f"seeing-{request.param}.litertlm", bundle)


def run(script: str, arguments: list[str], asked: Any) -> list[str]:
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    replies: list[str] = json.loads(done.stdout.splitlines()[-1])
    return replies


def image(pictures: Path, name: str) -> Any:
    return {"image": str(pictures / name)}


@pytest.mark.parametrize("mtp", MODES)
def test_the_answer_is_about_what_the_picture_shows(
    planted_bundle: Path, pictures: Path, mtp: str
) -> None:
    """PNG and JPEG, of a few tokens and resized; and none at all."""
    asked, expected = [[["What does the fox eat?"]]], ["The fox eats berries."]
    for name, animal in ANIMALS.items():
        for file in (f"{name}.png", f"{name}.jpg"):
            for question, answer in QUESTIONS[animal].items():
                before, after = question.split("{}")
                asked.append([[before, image(pictures, file), after]])
                expected.append(answer)
    assert run("engine_replies.py", [str(planted_bundle), mtp], asked) == expected


@pytest.mark.parametrize("mtp", MODES)
def test_several_pictures(planted_bundle: Path, pictures: Path, mtp: str) -> None:
    """Each stands in its place: in a message, and in the history of one."""
    red, blue = image(pictures, "red.png"), image(pictures, "blue.jpg")
    fox, cat = "The fox eats berries.", "The cat eats fish."
    asked = [
        [[blue, "What does the", red, " eat?"]],
        [[red, "What does the", blue, " eat?"]],
        [["What does the", red, " eat?"], fox, ["What does the", blue, " eat?"]],
        [["What does the", blue, " eat?"], cat, ["What does the fox eat?"]],
    ]
    assert run("engine_replies.py", [str(planted_bundle), mtp], asked) == [fox, cat, cat, fox]


def test_replies_are_transformers(random_pair: tuple[Path, Path], pictures: Path) -> None:
    """Pictures of many tokens, padding, clips, and the embedding at the end; MTP on and off."""
    target, bundle = random_pair
    names = [f"{width}x{height}.png" for width, height in EXACT]
    prompts = [["What does the", image(pictures, name), " eat?"] for name in names]
    prompts += [["Where does the", image(pictures, names[0]), image(pictures, names[1]), " live?"]]
    expected = run("reference_replies.py", [str(target)], prompts)
    for mtp in MODES:
        found = run("engine_replies.py", [str(bundle), mtp], [[prompt] for prompt in prompts])
        assert found == expected, mtp
    assert len(set(expected)) > 1


def test_inspect_shows_what_a_bundle_sees(planted_bundle: Path) -> None:
    inspection = inspect_bundle(planted_bundle)
    assert inspection.problems == ()
    assert inspection.pictures is not None
    assert inspection.pictures.image_tokens == FEW_TOKENS
    assert "pictures: 1, 4 tokens each, from patches of 4 pixels" in render(inspection).splitlines()
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
