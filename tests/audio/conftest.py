"""Targets with random audio towers, and what transformers makes of sound with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.once import made_once, shared_folder

KINDS = ("plain", "clipped")

REFERENCE = Path(__file__).parent / "reference_features.py"

Golden = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Runs a test once for each kind of tower."""
    return str(request.param)


@pytest.fixture(scope="session")
def audio_targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint with a small random tower of each kind."""
    from tests.audio.targets import CLIPPED, SMALL, add_tower, listening, random_tower

    settings = {"plain": SMALL, "clipped": CLIPPED}

    def make(folder: Path) -> None:
        kind = folder.name.removeprefix("audio-")
        tower = random_tower(settings[kind], seed=2 * KINDS.index(kind))
        add_tower(listening(folder), settings[kind], tower)

    shared = shared_folder(tmp_path_factory)
    return {kind: made_once(shared / f"audio-{kind}", make) for kind in KINDS}


@pytest.fixture(scope="session")
def audio_target(audio_targets: dict[str, Path], kind: str) -> Path:
    return audio_targets[kind]


@pytest.fixture(scope="session")
def audio_goldens(
    audio_targets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Golden]:
    """What unmodified transformers computes, in a process without our code."""

    def compute(folder: Path) -> None:
        folder.mkdir()
        command = [sys.executable, str(REFERENCE)]
        for kind, target in audio_targets.items():
            command += [str(target), str(folder / f"{kind}.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    folder = made_once(shared_folder(tmp_path_factory) / "audio-golden", compute)
    return {kind: dict(np.load(folder / f"{kind}.npz")) for kind in KINDS}


@pytest.fixture(scope="session")
def audio_golden(audio_goldens: dict[str, Golden], kind: str) -> Golden:
    return audio_goldens[kind]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :func:`~tests.audio.bundles.make_clips` makes."""
    from tests.audio.bundles import make_clips

    return made_once(shared_folder(tmp_path_factory) / "clips", make_clips)


@pytest.fixture(scope="session")
def planted_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :func:`~tests.audio.bundles.export_planted` makes."""
    from tests.audio.bundles import export_planted

    return made_once(shared_folder(tmp_path_factory) / "hearing.litertlm", export_planted)


@pytest.fixture(scope="session", params=["own", "frog"])
def random_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A target with a random tower and its bundle, float32; the end of a clip as it is, or a frog's."""
    from tests.audio.bundles import export_hearing
    from tests.audio.targets import CLIPPED, add_tower, listening, random_tower
    from tests.vision.bundles import token_of

    end = None if request.param == "own" else token_of(request.param)
    folder = shared_folder(tmp_path_factory)

    def target(path: Path) -> None:
        add_tower(listening(path), CLIPPED, random_tower(CLIPPED, seed=3), end)

    checkpoint = made_once(folder / f"hearing-{request.param}", target)

    def bundle(path: Path) -> None:
        export_hearing(checkpoint, path, "float32", vision=False)

    return checkpoint, made_once(folder / f"hearing-{request.param}.litertlm", bundle)


@pytest.fixture(scope="session")
def int8_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The target of the first random pair and its bundle in int8."""
    from tests.audio.bundles import export_hearing
    from tests.audio.targets import CLIPPED, add_tower, listening, random_tower

    def make(path: Path) -> None:
        add_tower(listening(path), CLIPPED, random_tower(CLIPPED, seed=3))

    folder = shared_folder(tmp_path_factory)
    target = made_once(folder / "hearing-own", make)
    bundle = made_once(
        folder / "hearing-int8.litertlm",
        lambda path: export_hearing(target, path, "int8", vision=False),
    )
    return target, bundle
