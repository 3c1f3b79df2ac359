"""``export`` of a checkpoint that sees, as a user calls it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from exporter.bundle.inspection import inspect_bundle
from exporter.contract.names import Section
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.command import run, run_without
from tests.export.command import refused
from tests.once import lowering
from tests.vision.targets import PLANTED, planted_tower, write_target

PICTURES = {Section.VISION_ENCODER, Section.VISION_ADAPTER, Section.END_OF_VISION}


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tower = planted_tower({"red": 611, "green": 634, "blue": 629})
    return write_target(tmp_path_factory.mktemp("seeing"), PLANTED, tower)


@pytest.mark.slow
@pytest.mark.parametrize("vision", [True, False])
def test_pictures_can_be_left_out(seeing: Path, tmp_path: Path, vision: bool) -> None:
    output = tmp_path / "x.litertlm"
    options = ["--image-tokens", "4,1"] if vision else ["--no-vision"]
    with lowering():
        done = run("export", seeing, TINY_DRAFTER, "-o", output, *options)
    assert done.returncode == 0, done.stderr
    inspection = inspect_bundle(output)
    assert inspection.problems == ()
    found = {section for section in PICTURES if section.value in inspection.models}
    assert found == (PICTURES if vision else set())
    said = "the bundle takes no pictures: --no-vision leaves the tower out"
    assert (said in done.stderr) != vision
    assert ("vision_tower" in done.stderr) != vision  # among what is ignored


def test_budgets_of_a_tower_that_is_left_out(tmp_path: Path) -> None:
    output = tmp_path / "x.litertlm"
    done = run(
        "export", TINY_TARGET, TINY_DRAFTER, "-o", output, "--no-vision", "--image-tokens", "70"
    )
    assert done.returncode == 2
    assert "--image-tokens is for bundles that take pictures; leave out --no-vision" in done.stderr


@pytest.mark.slow
def test_budgets_where_there_can_be_no_pictures(tmp_path: Path) -> None:
    output = tmp_path / "x.litertlm"
    done = run("export", TINY_TARGET, TINY_DRAFTER, "-o", output, "--image-tokens", "70")
    refused(done, "the chat template has no place for pictures", "--image-tokens is of no use")
    assert not output.exists()


EATS, LIVES = "What does the{} eat?", "Please tell me. Where does the{} live?"


def test_generate_sees(planted_bundle: Path, pictures: Path) -> None:
    """Every prompt has the picture, of which the line in front of its answer has the place."""
    prompts = [EATS.format("<|image|>"), LIVES.format("<|image|>")]
    asked = [word for prompt in prompts for word in ("--prompt", prompt)]
    done = run("generate", planted_bundle, *asked, "--image", pictures / "blue.jpg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "==> What does the <image> eat? <==",
        "The cat eats fish.",
        "",
        "==> Please tell me. Where does the <image> live? <==",
        "The cat lives in a cottage.",
    ]


def test_the_engines_extra_is_enough_to_see(planted_bundle: Path, pictures: Path) -> None:
    missing = ("torch", "litert_torch", "tokenizers", "transformers", "PIL")
    asked = ["-p", EATS.format("<|image|>"), "--image", str(pictures / "red.jpg"), "--mtp", "on"]
    done = run_without(missing, "generate", planted_bundle, *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The fox eats berries.\n"


def test_generate_takes_a_budget_for_pictures(planted_bundle: Path, pictures: Path) -> None:
    tokens = {}
    for budget in ("1", "4"):
        options = ["--image-tokens", budget, "--mtp", "off", "--json"]
        done = run(
            "generate", planted_bundle, "-p", "<|image|><|image|> and<|image|>", *options,
            *("--image", pictures / "red.png") * 3,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        tokens[budget] = json.loads(done.stdout)["off"]["replies"][0][0]["prefill_tokens"]
    assert tokens["4"] - tokens["1"] == 3 * (4 - 1)
    done = run("generate", planted_bundle, "-p", "x", "--image", pictures / "red.png", *options[2:],
               "--image-tokens", "5")  # fmt: skip
    refused(done, "expected a budget of at most 4 tokens for a picture, found 5")


def test_chat_files_have_pictures(planted_bundle: Path, pictures: Path, tmp_path: Path) -> None:
    """In a history and in the message to be answered, as files and in the chat file itself."""
    (tmp_path / "red.png").write_bytes((pictures / "red.png").read_bytes())
    blue = base64.b64encode((pictures / "blue.jpg").read_bytes()).decode()
    before, after = ({"type": "text", "text": words} for words in EATS.split("{}"))
    red = {"type": "image", "path": "red.png"}
    url = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{blue}"}}
    chat = [
        {"role": "user", "content": [before, red, after]},
        {"role": "assistant", "content": "The fox eats berries."},
        {"role": "user", "content": [before, url, after]},
    ]
    (tmp_path / "chat.json").write_text(json.dumps(chat))
    done = run("generate", planted_bundle, "--chat-file", tmp_path / "chat.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The cat eats fish.\n"


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["-p", "x", "--image", "no.png"], 1, "no.png: expected a PNG or JPEG, found a file"),
        (["-p", "<|image|><|image|>", "--image", "red.png"], 1, "found 1 for 2: give as many"),
        (["-p", "x", "--image-tokens", "4"], 2, "--image-tokens is for pictures"),
        (["--chat-file", "x", "--image", "red.png"], 2, "a chat file names its own pictures"),
        (["-p", "x", "--audio", "s.wav"], 1, "expected a bundle that takes sounds, found one"),
    ],
)
def test_what_generate_cannot_see_or_hear(
    planted_bundle: Path, pictures: Path, tmp_path: Path, asked: list[str], code: int, said: str
) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    (tmp_path / "s.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    (tmp_path / "red.png").write_bytes((pictures / "red.png").read_bytes())
    words = [str(tmp_path / word) if "." in word else word for word in asked]
    done = run("generate", planted_bundle, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bundle_of_text_takes_no_pictures(tiny_bundles: dict[str, Path], pictures: Path) -> None:
    done = run("generate", tiny_bundles["int8"], "-p", "x", "--image", pictures / "red.png")
    refused(done, "expected a bundle that takes pictures", "without section tf_lite_vision_encoder")
