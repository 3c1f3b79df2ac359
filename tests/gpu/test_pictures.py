"""Pictures on the GPU: the encoder delegated whole and right, and known answers in the stock engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.names import Accelerator, Section
from exporter.contract.vision import ENCODER_PREFIX, FEATURES, IMAGES, POSITIONS, VisionContract
from exporter.litertlm.bind import bind
from exporter.litertlm.tower_graphs import LoweredTower, find_tower_graphs
from exporter.lowering.vision import VisionRequest
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.progress import SilentReporter
from quantize.builtin_recipes import FLOAT32, RECIPES
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.c_api import Environment
from runtime_py.litert.compiled_model import CompiledModel
from runtime_py.litert.hardware import gpu_options
from tests.bundles import DRAFT_LENGTH, SHORT_CACHE, TINY_DRAFTER
from tests.gpu.operations import fully_accelerated
from tests.once import lowering
from tests.vision.asking import NEW_TOKENS, QUESTIONS, conversation
from tests.vision.bundles import ANIMALS, token_of
from tests.vision.eager import EagerVision, load_vision, vision_weights
from tests.vision.reference_features import PATCHES, random_patches
from tests.vision.targets import (
    CLIPPED,
    COLOURS,
    PLANTED,
    planted_tower,
    random_tower,
    write_target,
)

TOKENS = 16
SHAPES = ((12, 12), (15, 6), (3, 3))
"""In patches, of :data:`PATCHES`: two leave padding."""

TOLERANCES = {False: 2e-5, True: 0.06}
"""Of the largest magnitude, by whether in float16. On the software device measured: 6e-6 and 0.03."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu-vision")
    return write_target(folder, CLIPPED, random_tower(CLIPPED, seed=1))


@pytest.fixture(scope="module")
def eager(target: Path) -> EagerVision:
    return load_vision(target)


@pytest.fixture(scope="module")
def graphs(eager: EagerVision) -> LoweredTower:
    config = eager.config
    sizes = (config.patch_size, config.pooling, config.hidden_size, 128)
    request = VisionRequest(config, VisionContract((TOKENS,), *sizes), Accelerator.GPU)
    with lowering():
        return find_tower_graphs(request, SilentReporter(), fresh=False)


@pytest.fixture
def environment() -> Iterator[Environment]:
    environment = Environment(Accelerator.GPU)
    yield environment
    environment.close()


@pytest.mark.parametrize("half", TOLERANCES)
def test_encoder_is_delegated_whole_and_right(
    environment: Environment,
    eager: EagerVision,
    graphs: LoweredTower,
    target: Path,
    tmp_path: Path,
    half: bool,
) -> None:
    file = tmp_path / "encoder"
    with vision_weights(target) as weights, file.open("wb") as stream:
        section = Section.VISION_ENCODER
        bind(graphs.sections[section], weights[section], FLOAT32, stream)
    content = np.frombuffer(file.read_bytes(), np.uint8)
    model = CompiledModel(environment, content, gpu_options(float16=half))
    try:
        assert fully_accelerated(model)
        for across, down in SHAPES:
            images, positions = random_patches(across, down, eager.config.patch_size)
            assert images.shape[0] == PATCHES
            with torch.no_grad():
                expected = eager.gpu_tower(images[None], positions[None].int())
            given = {IMAGES: images.numpy()[None], POSITIONS: positions.int().numpy()[None]}
            found = run(model, given)
            count = across * down // eager.config.patches_per_token
            assert found["mask"].reshape(-1).tolist() == expected.mask[0].tolist()
            reference = expected.features[0, :count].numpy()
            error = np.abs(found[FEATURES][0, :count] - reference).max() / np.abs(reference).max()
            print(f"float16 {half}, {across} x {down}: {error:.2g}")
            assert error <= TOLERANCES[half]
    finally:
        model.close()


def run(model: CompiledModel, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
    """One call of the encoder."""
    name = f"{ENCODER_PREFIX}{TOKENS}"
    given = {key: model.input_buffer(name, key) for key in inputs}
    for key, buffer in given.items():
        buffer.write(inputs[key])
    made = {key: model.output_buffer(name, key) for key in model.signatures[name].outputs}
    model.call(name, given, made)()
    return {key: buffer.read() for key, buffer in made.items()}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tower that takes red for a fox, green for a frog and blue for a cat."""
    folder = tmp_path_factory.mktemp("gpu-planted")
    tokens = {colour: token_of(animal) for colour, animal in ANIMALS.items()}
    target = write_target(folder / "target", PLANTED, planted_tower(tokens))
    options = ExportOptions(
        RECIPES["int8"],
        draft_length=DRAFT_LENGTH,
        image_tokens=(TOKENS,),
        cache_length=SHORT_CACHE,
        prefill_lengths=(32, 128),
        accelerator=Accelerator.GPU,
    )
    output = folder / "planted.litertlm"
    with lowering():
        export(open_checkpoint(target), open_checkpoint(TINY_DRAFTER), output, options)
    return output


def test_answers_in_the_engine(bundle: Path, tmp_path: Path) -> None:
    """Encoder, target and drafter on the GPU."""
    asked, expected = [], []
    for colour, animal in ANIMALS.items():
        picture = tmp_path / f"{colour}.png"
        Image.new("RGB", (48, 48), COLOURS[colour]).save(picture)
        question, answer = next(iter(QUESTIONS[animal].items()))
        before, after = question.split("{}")
        asked.append(conversation([[before, picture, after]]))
        expected.append(answer)
    settings = EngineSettings(bundle, True, NEW_TOKENS, Accelerator.GPU)
    assert run_engine(settings, asked).texts == expected
