"""Sound on the GPU: the encoder delegated whole and right, and known answers in the stock engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.audio import ENCODER, FRAMES, AudioContract
from exporter.contract.names import MASK, Accelerator, Section
from exporter.contract.vision import FEATURES
from exporter.litertlm.bind import bind
from exporter.litertlm.tower_graphs import find_tower_graphs
from exporter.lowering.audio import AudioRequest
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.progress import SilentReporter
from quantize.builtin_recipes import FLOAT32, RECIPES
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.c_api import Environment
from runtime_py.litert.compiled_model import CompiledModel
from runtime_py.litert.hardware import gpu_options
from tests.audio.bundles import FRAMES as LENGTH
from tests.audio.bundles import HERD, SECONDS, save, tone
from tests.audio.eager import audio_weights, load_audio
from tests.audio.targets import CLIPPED, PLANTED, add_tower, listening, planted_tower, random_tower
from tests.bundles import DRAFT_LENGTH, SHORT_CACHE, TINY_DRAFTER
from tests.gpu.operations import fully_accelerated
from tests.once import lowering
from tests.vision.asking import NEW_TOKENS, QUESTIONS, conversation
from tests.vision.bundles import token_of

TOLERANCES = {False: 5e-6, True: 5e-3}
"""Of the largest magnitude, by whether in float16. On the software device measured: 7e-7 and 1.4e-3."""

CLIPS = (LENGTH, 130, 7)
"""Frames; two leave padding."""


@pytest.fixture
def environment() -> Iterator[Environment]:
    environment = Environment(Accelerator.GPU)
    yield environment
    environment.close()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = listening(tmp_path_factory.mktemp("gpu-audio") / "target")
    return add_tower(folder, CLIPPED, random_tower(CLIPPED, seed=2))


def test_encoder_is_delegated_whole_and_right(
    environment: Environment, target: Path, tmp_path: Path
) -> None:
    eager, file, section = load_audio(target), tmp_path / "encoder", Section.AUDIO_ENCODER
    contract = AudioContract(LENGTH, 128, 4, 100, eager.config.output_size, 128)
    with lowering():
        request = AudioRequest(eager.config, contract)
        graphs = find_tower_graphs(request, SilentReporter(), fresh=False)
    with audio_weights(target) as weights, file.open("wb") as stream:
        bind(graphs.sections[section], weights[section], FLOAT32, stream)
    content = np.frombuffer(file.read_bytes(), np.uint8)
    for half, tolerance in TOLERANCES.items():
        model = CompiledModel(environment, content, gpu_options(float16=half))
        try:
            assert fully_accelerated(model)
            for count in CLIPS:
                source = np.random.default_rng(count)
                frames = source.normal(0, 1.5, (1, LENGTH, 128)).astype(np.float32)
                mask = np.arange(LENGTH)[None] < count
                with torch.no_grad():
                    expected = eager.tower(torch.tensor(frames), torch.tensor(mask))
                found = run(model, {FRAMES: frames, MASK: mask})
                assert found[MASK].astype(bool).tolist() == expected.mask.tolist()
                reference = expected.features[expected.mask].numpy()
                off = np.abs(found[FEATURES][expected.mask.numpy()] - reference).max()
                error = off / np.abs(reference).max()
                print(f"float16 {half}, {count} frames: {error:.2g}")
                assert error <= tolerance
        finally:
            model.close()


def run(model: CompiledModel, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One call of the encoder."""
    given = {key: model.input_buffer(ENCODER, key) for key in inputs}
    for key, buffer in given.items():
        buffer.write(inputs[key])
    made = {key: model.output_buffer(ENCODER, key) for key in model.signatures[ENCODER].outputs}
    model.call(ENCODER, given, made)()
    return {key: buffer.read() for key, buffer in made.items()}


def test_answers_in_the_engine(tmp_path: Path) -> None:
    """Encoder, target and drafter on the GPU."""
    tokens = {tone: token_of(animal) for tone, animal in HERD.items()}
    planted = add_tower(listening(tmp_path / "target"), PLANTED, planted_tower(tokens))
    options = ExportOptions(
        RECIPES["int8"],
        draft_length=DRAFT_LENGTH,
        audio_seconds=SECONDS,
        cache_length=SHORT_CACHE,
        prefill_lengths=(32, 128),
        accelerator=Accelerator.GPU,
    )
    bundle = tmp_path / "planted.litertlm"
    with lowering():
        export(open_checkpoint(planted), open_checkpoint(TINY_DRAFTER), bundle, options)
    asked, expected = [], []
    for name, animal in HERD.items():
        save(tmp_path / f"{name}.wav", tone(name, 555))
        question, answer = next(iter(QUESTIONS[animal].items()))
        before, after = question.split("{}")
        asked.append(conversation([[before, tmp_path / f"{name}.wav", after]]))
        expected.append(answer)
    settings = EngineSettings(bundle, True, NEW_TOKENS, Accelerator.GPU)
    assert run_engine(settings, asked).texts == expected
