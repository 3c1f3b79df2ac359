"""Lowered and bound graphs of an audio tower: LiteRT against transformers, and the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.bundle.graph_reader import GraphReader
from exporter.bundle.signature_check import broken_signatures
from exporter.contract.audio import ADAPTER, ENCODER, END, FRAMES, AudioContract
from exporter.contract.names import EMBEDDINGS, MASK, Section
from exporter.contract.vision import FEATURES
from exporter.litertlm.tower_graphs import find_tower_graphs
from exporter.lowering.audio import AudioRequest
from exporter.progress import SilentReporter
from quantize.builtin_recipes import FLOAT32, int8_tower
from quantize.recipe import Recipe
from tests.audio.conftest import Golden
from tests.audio.eager import EagerAudio, audio_weights, load_audio
from tests.audio.reference_features import FRAMES as LENGTH
from tests.audio.reference_features import LENGTHS
from tests.once import lowering
from tests.vision.graphs import Arrays, LiteRtTower

pytestmark = pytest.mark.slow

TOLERANCE = 5e-6
"""Of the largest magnitude. Both sides are float32; other tiles, another order of sums, another exp()."""

ROUNDED = 0.35
"""Of the root mean square, with int8 weights: LiteRT rounds activations to 8 bits before each matrix.
Measured: 0.16 for a clip of two soft tokens, 0.025 for longer ones."""

RECIPES = {"float32": FLOAT32, "int8": Recipe("int8", "", (int8_tower("audio"),))}

CLIPS = tuple(LENGTHS)


@pytest.fixture(scope="module", params=["clipped"])
def kind(request: pytest.FixtureRequest) -> str:
    """Only the kind of tower that has every operation."""
    return str(request.param)


@pytest.fixture(scope="module")
def eager(audio_targets: dict[str, Path], kind: str) -> EagerAudio:
    return load_audio(audio_targets[kind])


@pytest.fixture(scope="module")
def golden(audio_goldens: dict[str, Golden], kind: str) -> Golden:
    return audio_goldens[kind]


@pytest.fixture(scope="module")
def contract(eager: EagerAudio) -> AudioContract:
    return AudioContract(LENGTH, 128, 4, 100, eager.config.output_size, 128)


@pytest.fixture(scope="module")
def runners(
    eager: EagerAudio,
    contract: AudioContract,
    audio_targets: dict[str, Path],
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, LiteRtTower]:
    with lowering():
        request = AudioRequest(eager.config, contract)
        graphs = find_tower_graphs(request, SilentReporter(), fresh=False)
    with audio_weights(audio_targets[kind]) as weights:
        return {
            name: LiteRtTower(
                graphs, contract, weights, recipe, tmp_path_factory.mktemp(f"audio-{name}")
            )
            for name, recipe in RECIPES.items()
        }


def encoded(runner: LiteRtTower, golden: Golden, name: str) -> tuple[Arrays, int]:
    """What the encoder makes of a clip, and how many tokens the mask says are its own."""
    inputs = {FRAMES: golden[f"{name}.frames"][None], MASK: golden[f"{name}.mask"][None]}
    found = runner.run(Section.AUDIO_ENCODER, ENCODER, inputs)
    mask = found[MASK][0].tolist()
    assert mask == sorted(mask, reverse=True)
    return found, sum(mask)


def error(ours: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    assert ours.shape == reference.shape
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


@pytest.mark.parametrize("recipe", RECIPES)
def test_signatures_keep_the_contract(
    runners: dict[str, LiteRtTower], contract: AudioContract, recipe: str
) -> None:
    found = {
        section.value: GraphReader(path.read_bytes(), "").signatures()
        for section, path in runners[recipe].files.items()
    }
    assert broken_signatures(contract.section_signatures(), found) == []


@pytest.mark.parametrize("name", CLIPS)
def test_graphs_are_transformers(
    runners: dict[str, LiteRtTower], golden: Golden, name: str
) -> None:
    """Encoder, mask and adapter."""
    found, count = encoded(runners["float32"], golden, name)
    assert error(found[FEATURES][0, :count], golden[f"{name}.features"]) <= TOLERANCE
    embeddings = runners["float32"].run(Section.AUDIO_ADAPTER, ADAPTER, found)[EMBEDDINGS]
    assert error(embeddings[0, :count], golden[f"{name}.embeddings"]) <= TOLERANCE
    assert not embeddings[0, count:].any()


@pytest.mark.parametrize("name", CLIPS)
def test_int8_is_near(runners: dict[str, LiteRtTower], golden: Golden, name: str) -> None:
    found, count = encoded(runners["int8"], golden, name)
    expected = golden[f"{name}.features"]
    off = found[FEATURES][0, :count] - expected
    noise = np.sqrt(np.square(off).mean() / np.square(expected).mean())
    assert 0 < noise <= ROUNDED


@pytest.mark.parametrize("recipe", RECIPES)
def test_end_is_a_constant(runners: dict[str, LiteRtTower], eager: EagerAudio, recipe: str) -> None:
    """Also in an int8 bundle: it is no matrix."""
    found = runners[recipe].run(Section.END_OF_AUDIO, END, {})
    assert np.array_equal(found[EMBEDDINGS], eager.end)
