"""What several test modules need and is slow to make: checkpoint pairs, built once per session.

Torch and transformers are imported inside the fixtures: tests of plain Python start at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.once import lowered_anew, made_once, shared_folder, unpack_graphs
from tests.quick_tier import (  # noqa: F401  hooks, which pytest finds here
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_runtest_call,
    pytest_runtest_protocol,
)

if TYPE_CHECKING:
    from tests.eager import Eager
    from tests.pairs import Pair

SHAPES = ("e2b", "e4b")
REFERENCE_RUN = Path(__file__).parent / "reference_run.py"

Golden = Mapping[str, Mapping[str, NDArray[np.generic]]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what makes a run of all tests longer than it need be."""
    if lowered := lowered_anew():
        terminalreporter.write_line(
            f"{len(lowered)} graphs were lowered that tests/graphs.zip has not; scripts/ship_graphs.py"
            " tells how to make it anew"
        )


@pytest.fixture(scope="session", autouse=True)
def kept_graphs() -> None:
    """Graphs that an earlier run lowered need not be lowered again."""
    unpack_graphs()


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Both random pairs, by shape."""
    from tests.pairs import Pair, e2b_shaped, e4b_shaped

    build = {"e2b": e2b_shaped, "e4b": e4b_shaped}
    folder = shared_folder(tmp_path_factory)
    made = {shape: made_once(folder / shape, build[shape]) for shape in SHAPES}
    return {shape: Pair(made[shape] / "target", made[shape] / "drafter") for shape in SHAPES}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    """Runs a test once for each shape of model."""
    return str(request.param)


@pytest.fixture
def pair(pairs: dict[str, Pair], shape: str) -> Pair:
    return pairs[shape]


@pytest.fixture(scope="session")
def goldens(pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """What transformers computes for both pairs, in a process without our code."""

    def compute(folder: Path) -> None:
        folder.mkdir()
        arguments: list[str] = []
        for shape, pair in pairs.items():
            arguments += [str(pair.target), str(pair.drafter), str(folder / f"{shape}.npz")]
        command = [sys.executable, str(REFERENCE_RUN), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    folder = made_once(shared_folder(tmp_path_factory) / "golden", compute)
    return {shape: dict(np.load(folder / f"{shape}.npz")) for shape in pairs}


@pytest.fixture
def golden(goldens: Golden, shape: str) -> Mapping[str, NDArray[np.generic]]:
    return goldens[shape]


@pytest.fixture(scope="session")
def eagers(pairs: dict[str, Pair]) -> dict[str, Eager]:
    """Our modules with the pairs' weights."""
    from tests.eager import load_pair

    return {shape: load_pair(pair.target, pair.drafter) for shape, pair in pairs.items()}


@pytest.fixture
def eager(eagers: dict[str, Eager], shape: str) -> Eager:
    return eagers[shape]


@pytest.fixture(scope="session")
def tiny_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped tiny pair as a bundle of any built-in recipe, made when it is first asked for."""
    from tests.bundles import TinyBundles, export_tiny

    return TinyBundles(shared_folder(tmp_path_factory), export_tiny)


@pytest.fixture(scope="session")
def short_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 bundle with a short cache and short prefills, to reach its end quickly."""
    from tests.bundles import SHORT_CACHE, SHORT_PREFILLS, export_tiny

    def make(output: Path) -> None:
        export_tiny(
            output,
            "float32",
            cache_length=SHORT_CACHE,
            fixed_cache_length=True,
            prefill_lengths=SHORT_PREFILLS,
        )

    return made_once(shared_folder(tmp_path_factory) / "short.litertlm", make)


@pytest.fixture(scope="session")
def poor_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 bundle with another drafter, whose drafts are hardly ever accepted."""
    from tests.bundles import export_tiny, poor_drafter

    def make(output: Path) -> None:
        drafter = poor_drafter(tmp_path_factory.mktemp("poor") / "drafter")
        export_tiny(output, "int8", drafter_folder=drafter)

    return made_once(shared_folder(tmp_path_factory) / "poor.litertlm", make)


@pytest.fixture(scope="session")
def plain_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 bundle without a drafter."""
    from tests.bundles import export_tiny

    return made_once(
        shared_folder(tmp_path_factory) / "plain.litertlm",
        lambda output: export_tiny(output, "int8", drafter=False),
    )
