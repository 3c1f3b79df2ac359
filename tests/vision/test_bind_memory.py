"""How much memory binding a tower of real size takes, for pictures or sound: blocks of its tensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.vision import parse_vision
from exporter.contract.names import Section
from exporter.contract.vision import DEFAULT_IMAGE_TOKENS, ENCODER_PREFIX
from exporter.litertlm.bind import bind
from exporter.litertlm.tower_graphs import graph_kind
from exporter.lowering import graph_cache
from exporter.lowering.units import Unit
from exporter.lowering.vision import VisionRequest
from exporter.plan.vision import vision_contract
from exporter.progress import SilentReporter
from quantize.builtin_recipes import int8_tower
from quantize.recipe import Recipe
from tests.export.test_bind_memory import ROOT, PrintingReporter, anonymous_memory, stage_times
from tests.once import lowering
from tests.vision.eager import vision_weights

pytestmark = [pytest.mark.slow, pytest.mark.alone]

STAGE = "binding"

TOWER_BYTES = 300e6
"""At the least, in the checkpoint."""

LARGEST_TENSOR = 2 * 10_240 * 768 * 4
"""Bytes of the position table as float32: what binding may add to the process's anonymous memory. Measured:
44 of these 63 MB."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small planted target with a tower of E2B's and E4B's size."""
    folder = tmp_path_factory.mktemp("tower")
    script = ROOT / "scripts" / "make_planted_pair.py"
    command = [sys.executable, str(script), "--size", "small", "--vision", "--output", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "target"


def test_binding_streams(target: Path, tmp_path: Path) -> None:
    assert (target / "model.safetensors").stat().st_size > TOWER_BYTES
    graph, bound, log = tmp_path / "graph", tmp_path / "encoder", tmp_path / "stages"
    graph.write_bytes(encoder_graph(target))
    command = [sys.executable, "-m", "tests.vision.test_bind_memory", *map(str, (target, graph))]
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
    assert bound.stat().st_size > TOWER_BYTES / 2


def encoder_graph(target: Path) -> bytes:
    """Of the smallest budget, which ships."""
    config = parse_vision(open_checkpoint(target).config, str(target))
    assert config is not None
    tokens = DEFAULT_IMAGE_TOKENS[0]
    request = VisionRequest(config, vision_contract(config, hidden_size=1))
    unit = Unit(Section.VISION_ENCODER, f"{ENCODER_PREFIX}{tokens}")
    with lowering():
        return graph_cache.find_graphs(
            request, [unit], graph_kind(request), SilentReporter()
        ).by_unit[unit]


def main(target: Path, graph: Path, output: Path) -> None:
    """The process that is measured."""
    recipe = Recipe("int8", "", (int8_tower("vision"),))
    with (
        vision_weights(target) as weights,
        output.open("wb") as stream,
        PrintingReporter().stage(STAGE, None),
    ):
        bind(graph.read_bytes(), weights[Section.VISION_ENCODER], recipe, stream)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
