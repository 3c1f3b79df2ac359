"""``export`` of a checkpoint that hears, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.bundle.inspection import inspect_bundle
from exporter.contract.names import Section
from tests.audio.targets import PLANTED, add_tower, listening, planted_tower
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.command import run
from tests.once import lowering

SOUND = {Section.AUDIO_ENCODER, Section.AUDIO_ADAPTER, Section.END_OF_AUDIO}


@pytest.mark.slow
@pytest.mark.parametrize("audio", [True, False])
def test_sound_can_be_left_out(tmp_path: Path, audio: bool) -> None:
    target = listening(tmp_path / "target")
    add_tower(target, PLANTED, planted_tower({"low": 611, "middle": 634, "high": 629}))
    output = tmp_path / "x.litertlm"
    options = ["--audio-seconds", "2"] if audio else ["--no-audio"]
    with lowering():
        done = run("export", target, TINY_DRAFTER, "-o", output, "--no-vision", *options)
    assert done.returncode == 0, done.stderr
    inspection = inspect_bundle(output)
    assert inspection.problems == ()
    found = {section for section in SOUND if section.value in inspection.models}
    assert found == (SOUND if audio else set())
    said = "the bundle takes no sound: --no-audio leaves the tower out"
    assert (said in done.stderr) != audio
    assert ("audio_tower" in done.stderr) != audio  # among what is ignored


def test_seconds_of_a_tower_that_is_left_out(tmp_path: Path) -> None:
    output = tmp_path / "x.litertlm"
    options = ("--no-audio", "--audio-seconds", "5")
    done = run("export", TINY_TARGET, TINY_DRAFTER, "-o", output, *options)
    assert done.returncode == 2
    assert "--audio-seconds is for bundles that take sound; leave out --no-audio" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mtp", ["off", "on"])
def test_generate_is_given_a_sound(planted_bundle: Path, clips: Path, mtp: str) -> None:
    """Beside a picture; each in its place."""
    sound, picture = ("--audio", clips / "low.wav"), ("--image", clips / "red.png")
    question = "What does the<|audio|> eat?"
    alone = run("generate", planted_bundle, *sound, "--prompt", question, "--mtp", mtp)
    assert "The fox eats berries." in alone.stdout, alone.stderr
    question = "<|audio|>What does the<|image|> eat?"
    beside = run("generate", planted_bundle, *sound, *picture, "--prompt", question, "--mtp", mtp)
    assert "The cat eats fish." in beside.stdout, beside.stderr
