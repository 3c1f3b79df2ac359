"""How much memory binding a tower of real size takes, for pictures or sound: blocks of its tensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.configs.sound import DEFAULT_SECONDS
from exporter.checkpoints.configs.vision import parse_vision
from exporter.contract.audio import ENCODER
from exporter.contract.names import Section
from exporter.contract.vision import DEFAULT_IMAGE_TOKENS, ENCODER_PREFIX
from exporter.litertlm.bind import bind
from exporter.litertlm.tower_graphs import graph_kind
from exporter.lowering import graph_cache
from exporter.lowering.audio import AudioRequest
from exporter.lowering.tower import TowerRequest
from exporter.lowering.units import Unit
from exporter.lowering.vision import VisionRequest
from exporter.plan.audio import audio_contract
from exporter.plan.vision import vision_contract
from exporter.progress import SilentReporter
from quantize.builtin_recipes import int8_tower
from quantize.recipe import Recipe
from tests.audio.eager import audio_weights
from tests.export.test_bind_memory import ROOT, PrintingReporter, anonymous_memory, stage_times
from tests.once import lowering
from tests.vision.eager import vision_weights

pytestmark = pytest.mark.slow

STAGE = "binding"

TOWER_BYTES = {"vision": 300e6, "audio": 550e6}
"""At the least, in the checkpoint."""

LARGEST_TENSOR = 2 * 10_240 * 768 * 4
"""Bytes of the vision tower's position table as float32: what binding may add to the process's anonymous
memory, for either tower. Measured: 44 of these 63 MB for vision, 38 for sound, whose largest tensor has
17 MB: what is added there are blocks and their copies."""


@pytest.mark.parametrize("kind", TOWER_BYTES)
def test_binding_streams(kind: str, tmp_path: Path) -> None:
    """Of a small planted target with a tower of E2B's and E4B's size."""
    script = ROOT / "scripts" / "make_planted_pair.py"
    pair = [sys.executable, str(script), "--size", "small", f"--{kind}", "--output", str(tmp_path)]
    subprocess.run(pair, check=True, capture_output=True)
    target = tmp_path / "target"
    assert (target / "model.safetensors").stat().st_size > TOWER_BYTES[kind]
    graph, bound, log = tmp_path / "graph", tmp_path / "encoder", tmp_path / "stages"
    graph.write_bytes(encoder_graph(target, kind))
    arguments = (kind, str(target), str(graph))
    command = [sys.executable, "-m", "tests.export.test_bind_tower_memory", *arguments]
    with log.open("wb") as stages:
        process = subprocess.Popen([*command, str(bound)], cwd=ROOT, stdout=stages)
        samples = list(anonymous_memory(process))
    assert process.wait() == 0
    begin, end = stage_times(log, STAGE)
    binding = [sample.anonymous for sample in samples if begin <= sample.moment <= end]
    added = max(binding) - binding[0]
    measured = f"{added / 1e6:.0f} MB more in {end - begin:.1f} s, {len(binding)} samples"
    print(measured)
    assert added < LARGEST_TENSOR, measured
    assert bound.stat().st_size > TOWER_BYTES[kind] / 2


def encoder_graph(target: Path, kind: str) -> bytes:
    """One that ships: of the smallest budget, or for clips as long as a processor takes."""
    request, unit = encoder_request(target, kind)
    with lowering():
        return graph_cache.find_graphs(
            request, [unit], graph_kind(request), SilentReporter()
        ).by_unit[unit]


def encoder_request(target: Path, kind: str) -> tuple[TowerRequest, Unit]:
    config = open_checkpoint(target).config
    if kind == "audio":
        heard = parse_audio(config, str(target))
        assert heard is not None
        sounds = AudioRequest(heard, audio_contract(heard, 1, DEFAULT_SECONDS))
        return sounds, Unit(Section.AUDIO_ENCODER, ENCODER)
    seen = parse_vision(config, str(target))
    assert seen is not None
    pictures = VisionRequest(seen, vision_contract(seen, hidden_size=1))
    name = f"{ENCODER_PREFIX}{DEFAULT_IMAGE_TOKENS[0]}"
    return pictures, Unit(Section.VISION_ENCODER, name)


def main(kind: str, target: Path, graph: Path, output: Path) -> None:
    """The process that is measured."""
    recipe = Recipe("int8", "", (int8_tower(kind),))
    read, section = {
        "vision": (vision_weights, Section.VISION_ENCODER),
        "audio": (audio_weights, Section.AUDIO_ENCODER),
    }[kind]
    with (
        read(target) as weights,
        output.open("wb") as stream,
        PrintingReporter().stage(STAGE, None),
    ):
        bind(graph.read_bytes(), weights[section], recipe, stream)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
