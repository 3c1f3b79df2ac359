"""Targets with random towers, and what transformers makes of pictures with them."""

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
def vision_target(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a small random tower."""
    from tests.vision.targets import CLIPPED, SMALL, random_tower, write_target

    settings = {"plain": SMALL, "clipped": CLIPPED}[kind]

    def make(folder: Path) -> None:
        write_target(folder, settings, random_tower(settings, seed=KINDS.index(kind)))

    return made_once(shared_folder(tmp_path_factory) / f"vision-{kind}", make)


@pytest.fixture(scope="session")
def vision_golden(
    kind: str, vision_target: Path, tmp_path_factory: pytest.TempPathFactory
) -> Golden:
    """What unmodified transformers computes, in a process without our code."""

    def compute(out: Path) -> None:
        command = [sys.executable, str(REFERENCE), str(vision_target), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return dict(np.load(made_once(shared_folder(tmp_path_factory) / f"vision-{kind}.npz", compute)))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of them: ``red.png``, ``red.jpg``, ..., ``48x48.png``, ..."""
    from tests.vision.bundles import draw_pictures

    return made_once(shared_folder(tmp_path_factory) / "pictures", draw_pictures)


@pytest.fixture(scope="session")
def planted_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :func:`~tests.vision.bundles.export_planted` makes."""
    from tests.vision.bundles import export_planted

    return made_once(shared_folder(tmp_path_factory) / "planted.litertlm", export_planted)


@pytest.fixture(scope="session", params=["own", "frog"])
def random_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A target with a random tower and its bundle, float32; the end of a picture as it is, or a frog's."""
    from tests.vision.bundles import TOKENS, exported, token_of
    from tests.vision.targets import CLIPPED, random_tower, write_target

    end = None if request.param == "own" else token_of(request.param)
    folder = shared_folder(tmp_path_factory)

    def target(path: Path) -> None:
        write_target(path, CLIPPED, random_tower(CLIPPED, seed=3), end)

    checkpoint = made_once(folder / f"seeing-{request.param}", target)

    def bundle(path: Path) -> None:
        exported(checkpoint, path, "float32", TOKENS)

    return checkpoint, made_once(folder / f"seeing-{request.param}.litertlm", bundle)
