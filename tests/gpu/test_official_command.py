"""LiteRT-LM's own command takes a bundle for the GPU there without being told."""

from __future__ import annotations

from pathlib import Path

from exporter.contract.names import Accelerator
from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import SUCCESS_RATE, EngineSettings, run_engine
from tests.bundles import held_out_prompts
from tests.gpu.test_engine import LEAST_SUCCESS_RATE
from tests.test_official_command import official


def test_describe(gpu_bundles: dict[str, Path], tmp_path: Path) -> None:
    said = " ".join(official(tmp_path, "describe", str(gpu_bundles["int8"])).split())
    assert "Text Backends: GPU Text Default Backend: GPU" in said


def test_run_with_mtp(gpu_bundles: dict[str, Path], tmp_path: Path) -> None:
    """The text is the one without MTP, and the drafter works."""
    prompt = held_out_prompts(4)[
        -1
    ]  # with a short answer: the command has no option for its length
    settings = EngineSettings(gpu_bundles["int8"], False, 500, Accelerator.GPU)
    expected = run_engine(settings, [Conversation.asking(prompt)]).texts[0]
    options = ("--prompt", prompt, "--speculative-decoding", "true", "--cache", "no", "--verbose")
    said = official(tmp_path, "run", str(gpu_bundles["int8"]), *options)
    assert "Using model's default backend: gpu" in said
    assert expected in said
    rate = SUCCESS_RATE.search(said)
    assert rate is not None
    assert float(rate[1]) >= LEAST_SUCCESS_RATE
