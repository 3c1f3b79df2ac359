"""Bundles of the tiny target with audio towers, and clips for them."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporter.options import ExportOptions
from quantize.builtin_recipes import RECIPES
from tests.audio.targets import PLANTED, TONES, add_tower, frequency, planted_tower
from tests.vision import targets as seeing
from tests.vision.bundles import FEW_TOKENS, export_with, token_of

SECONDS, FRAMES = 2, 200
"""As in ``test_graphs.py``, whose graphs of a random tower these are."""

HERD = {"low": "fox", "middle": "frog", "high": "cat"}
"""What the planted tower takes tones for."""
SEEN = {"red": "cat", "green": "fox", "blue": "frog"}
"""And the planted tower beside it, colours."""

NOISES = {"short": 3333, "whole": 32_001, "long": 43_777}
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
    """One of :data:`~tests.audio.targets.TONES`."""
    turns = frequency(TONES[name]) / rate * np.arange(samples)
    return np.asarray(0.5 * np.sin(2 * np.pi * turns))


def make_clips(folder: Path) -> None:
    """Each tone as one token and, in stereo at another rate, as three; noise that swells; pictures."""
    folder.mkdir()
    for name in TONES:
        save(folder / f"{name}.wav", tone(name, 555))
        stereo = np.stack([tone(name, 4000, 44_100)] * 2, axis=1)
        save(folder / f"{name}-stereo.wav", stereo, 44_100)
    source = np.random.default_rng(5)
    for name, samples in NOISES.items():
        swelling = np.sin(np.arange(samples) / 1700) ** 2
        save(folder / f"{name}.wav", 0.3 * swelling * source.uniform(-1, 1, samples))
    for name in SEEN:
        Image.new("RGB", (12, 12), seeing.COLOURS[name]).save(folder / f"{name}.png")


def export_hearing(target: Path, output: Path, recipe: str, **chosen: Any) -> None:
    export_with(target, output, ExportOptions(RECIPES[recipe], audio_seconds=SECONDS, **chosen))


def export_planted(output: Path) -> None:
    """Towers that take tones and colours for animals; int8."""
    heard = {tone: token_of(animal) for tone, animal in HERD.items()}
    seen = {colour: token_of(animal) for colour, animal in SEEN.items()}
    target = output.with_suffix(".target")
    seeing.write_target(target, seeing.PLANTED, seeing.planted_tower(seen))
    add_tower(target, PLANTED, planted_tower(heard))
    export_hearing(target, output, "int8", image_tokens=FEW_TOKENS)
