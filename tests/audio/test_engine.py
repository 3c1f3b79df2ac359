"""Bundles that hear, in the stock engine: clips whose right answer is known, and transformers' answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.integrity import checksums_of
from exporter.bundle.stored_sound import broken_sound
from exporter.cli.inspect_bundle import render, to_json
from tests.audio.bundles import FRAMES, HERD, NOISES
from tests.vision.asking import QUESTIONS, in_engine, transformers_replies

pytestmark = pytest.mark.slow

MODES = ("off", "on")


@pytest.mark.parametrize("mtp", MODES)
def test_the_answer_is_about_what_the_clip_says(
    planted_bundle: Path, clips: Path, mtp: str
) -> None:
    """Clips alone, resampled, beside a picture, in the history; and none at all."""
    asked: list[Any] = [[["What does the fox eat?"]]]
    expected = ["The fox eats berries."]
    for name, animal in HERD.items():
        for file in (f"{name}.wav", f"{name}-stereo.wav"):
            for question, answer in QUESTIONS[animal].items():
                before, after = question.split("{}")
                asked.append([[before, clips / file, after]])
                expected.append(answer)
    fox, cat = "The fox eats berries.", "The cat eats fish."
    low, high, red = (clips / file for file in ("low.wav", "high.wav", "red.png"))
    asked += [
        [[red, "What does the", low, " eat?"]],
        [[low, "What does the", red, " eat?"]],
        [["What does the", low, " eat?"], fox, ["What does the", high, " eat?"]],
        [["What does the", red, " eat?"], cat, ["What does the", low, " eat?"]],
    ]
    expected += [fox, cat, cat, fox]
    assert list(in_engine(planted_bundle, mtp, asked).texts) == expected


def test_replies_are_transformers(random_pair: tuple[Path, Path], clips: Path) -> None:
    """Clips shorter and longer than what is encoded at once, clipped layers, the embedding at the end."""
    target, bundle = random_pair
    short, _, long = noises = [clips / f"{name}.wav" for name in NOISES]
    prompts: list[Any] = [["What does the", noise, " eat?"] for noise in noises]
    prompts += [["Where does the", short, long, " live?"]]
    expected = transformers_replies(target, prompts, FRAMES)
    for mtp in MODES:
        found = in_engine(bundle, mtp, [[prompt] for prompt in prompts]).texts
        assert list(found) == expected, mtp
    assert len(set(expected)) > 1


def test_inspect_shows_what_a_bundle_hears(planted_bundle: Path) -> None:
    inspection = inspect_bundle(planted_bundle)
    assert inspection.problems == ()
    assert inspection.sound is not None
    assert inspection.pictures is not None
    shown = render(inspection, checksums_of(inspection.bundle, weights=False)).splitlines()
    assert "sound: 2 s at once, 50 tokens; longer clips in pieces" in shown
    assert to_json(inspection)["sound"]["frames"] == FRAMES
    gemma = inspection.bundle.llm_metadata().llm_model_type.gemma4
    assert gemma.start_of_audio_token.token_str == "<|audio>"
    assert gemma.end_of_audio_token.token_str == "<audio|>"
    found = {name: model.signatures for name, model in inspection.models.items()}
    assert broken_sound(replace(inspection.sound, frames=400), found) != []
