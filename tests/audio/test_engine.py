"""Bundles that hear, in the stock engine: clips whose right answer is known, and transformers' answers."""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.stored_sound import broken_sound
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.cli.inspect_bundle import render, to_json
from exporter.options import ExportOptions
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from tests.audio.targets import (
    CLIPPED,
    PLANTED,
    TONES,
    add_tower,
    frequency,
    listening,
    planted_tower,
    random_tower,
)
from tests.bundles import DRAFT_LENGTH, TINY_DRAFTER
from tests.once import lowering, made_once, shared_folder
from tests.replies import QUESTIONS, run, token_of
from tests.vision import targets as seeing

pytestmark = pytest.mark.slow

MODES = ("off", "on")
SECONDS, FRAMES = 2, 200
"""As in ``test_graphs.py``, whose graphs of a random tower these are."""

HERD = {"low": "fox", "middle": "frog", "high": "cat"}
SEEN = {"red": "cat", "green": "fox", "blue": "frog"}

CLIPS = {"short": 3333, "whole": 32_001, "long": 43_777}
"""Samples, no multiples of 160: there the engine makes a frame more than transformers. Two seconds are
encoded at once."""


def save(path: Path, samples: NDArray[Any], rate: int = 16_000) -> None:
    """Write a WAV file of 16 bits; ``samples`` are ``[n]`` or, of several channels, ``[n, c]``."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def tone(name: str, samples: int, rate: int = 16_000) -> NDArray[Any]:
    found: NDArray[Any] = 0.5 * np.sin(
        2 * np.pi * frequency(TONES[name]) / rate * np.arange(samples)
    )
    return found


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each tone as one token and, in stereo at another rate, as three; noise that swells; a picture."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for name in TONES:
            save(folder / f"{name}.wav", tone(name, 555))
            stereo = np.stack([tone(name, 4000, 44_100)] * 2, axis=1)
            save(folder / f"{name}-stereo.wav", stereo, 44_100)
        source = np.random.default_rng(5)
        for name, samples in CLIPS.items():
            swelling = np.sin(np.arange(samples) / 1700) ** 2
            save(folder / f"{name}.wav", 0.3 * swelling * source.uniform(-1, 1, samples))
        for name in SEEN:
            Image.new("RGB", (12, 12), seeing.COLOURS[name]).save(folder / f"{name}.png")

    return made_once(shared_folder(tmp_path_factory) / "clips", make)


def exported(target: Path, output: Path, recipe: str, **chosen: Any) -> None:
    options = ExportOptions(
        RECIPES[recipe], draft_length=DRAFT_LENGTH, audio_seconds=SECONDS, **chosen
    )
    with lowering():
        export(open_checkpoint(target), open_checkpoint(TINY_DRAFTER), output, options)


@pytest.fixture(scope="module")
def planted_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Towers that take tones and colours for animals; int8."""

    def make(output: Path) -> None:
        heard = {tone: token_of(animal) for tone, animal in HERD.items()}
        seen = {colour: token_of(animal) for colour, animal in SEEN.items()}
        target = seeing.write_target(
            output.with_suffix(".target"), seeing.PLANTED, seeing.planted_tower(seen)
        )
        add_tower(target, PLANTED, planted_tower(heard))
        exported(target, output, "int8", image_tokens=(1, 4))

    return made_once(shared_folder(tmp_path_factory) / "hearing.litertlm", make)


@pytest.fixture(scope="module", params=["own", "frog"])
def random_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A target with a random tower and its bundle, float32; the end of a clip as it is, or a frog's."""
    end = None if request.param == "own" else token_of(request.param)
    folder = shared_folder(tmp_path_factory)

    def target(path: Path) -> None:
        add_tower(listening(path), CLIPPED, random_tower(CLIPPED, seed=3), end)

    checkpoint = made_once(folder / f"hearing-{request.param}", target)

    def bundle(path: Path) -> None:
        exported(checkpoint, path, "float32", vision=False)

    return checkpoint, made_once(folder / f"hearing-{request.param}.litertlm", bundle)


def audio(clips: Path, name: str) -> Any:
    return {"audio": str(clips / f"{name}.wav"), "frames": FRAMES}


@pytest.mark.parametrize("mtp", MODES)
def test_the_answer_is_about_what_the_clip_says(
    planted_bundle: Path, clips: Path, mtp: str
) -> None:
    """Clips alone, resampled, beside a picture, in the history; and none at all."""
    asked: list[Any] = [[["What does the fox eat?"]]]
    expected = ["The fox eats berries."]
    for name, animal in HERD.items():
        for file in (name, f"{name}-stereo"):
            for question, answer in QUESTIONS[animal].items():
                before, after = question.split("{}")
                asked.append([[before, audio(clips, file), after]])
                expected.append(answer)
    fox, cat = "The fox eats berries.", "The cat eats fish."
    low, high, red = audio(clips, "low"), audio(clips, "high"), {"image": str(clips / "red.png")}
    asked += [
        [[red, "What does the", low, " eat?"]],
        [[low, "What does the", red, " eat?"]],
        [["What does the", low, " eat?"], fox, ["What does the", high, " eat?"]],
        [["What does the", red, " eat?"], cat, ["What does the", low, " eat?"]],
    ]
    expected += [fox, cat, cat, fox]
    arguments = [str(planted_bundle), mtp, "image", "audio"]
    assert run("engine_replies.py", arguments, asked) == expected


def test_replies_are_transformers(random_pair: tuple[Path, Path], clips: Path) -> None:
    """Clips shorter and longer than what is encoded at once, clipped layers, the embedding at the end."""
    target, bundle = random_pair
    prompts: list[Any] = [["What does the", audio(clips, name), " eat?"] for name in CLIPS]
    prompts += [["Where does the", audio(clips, "short"), audio(clips, "long"), " live?"]]
    expected = run("reference_replies.py", [str(target)], prompts)
    for mtp in MODES:
        conversations = [[prompt] for prompt in prompts]
        found = run("engine_replies.py", [str(bundle), mtp, "audio"], conversations)
        assert found == expected, mtp
    assert len(set(expected)) > 1


def test_inspect_shows_what_a_bundle_hears(planted_bundle: Path) -> None:
    inspection = inspect_bundle(planted_bundle)
    assert inspection.problems == ()
    assert inspection.sound is not None
    assert inspection.pictures is not None
    assert "sound: 2 s at once, 50 tokens; longer clips in pieces" in render(inspection)
    assert to_json(inspection)["sound"]["frames"] == FRAMES
    gemma = inspection.bundle.llm_metadata().llm_model_type.gemma4
    assert gemma.start_of_audio_token.token_str == "<|audio>"
    assert gemma.end_of_audio_token.token_str == "<audio|>"
    found = {name: model.signatures for name, model in inspection.models.items()}
    assert broken_sound(replace(inspection.sound, frames=400), found) != []
