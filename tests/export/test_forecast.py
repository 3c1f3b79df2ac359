"""``export --dry-run``: it tells what the export then does, and writes nothing."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.json_file import read_json
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.cli.size import shown_size
from exporter.contract.names import Dtype
from exporter.errors import RecipeError
from exporter.options import ExportOptions
from exporter.plan.export_plan import ExportPlan, make_plan
from exporter.plan.forecast import SourceFile, forecast_of_configs, forecast_of_plan
from exporter.progress import SilentReporter
from quantize.builtin_recipes import PLAIN_NAMES, RECIPES, built_in
from quantize.recipe import Recipe, Rule
from quantize.storage import Storage
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.checkpoints.written_configs import PUBLISHED
from tests.command import run, run_without

NONE_READ = SourceFile("target", "model.safetensors", 10_000_000_000, here=False)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, tiny_bundles: dict[str, Path]) -> ExportPlan:
    """Of the tiny pair, as float32, once its graphs are known."""
    assert tiny_bundles["int8"]
    output = tmp_path_factory.mktemp("plan") / "x.litertlm"
    pair = Pair.of(open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER))
    options = ExportOptions(RECIPES["float32"])
    return make_plan(pair, output, options, TensorReader(), SilentReporter())


def with_recipe(plan: ExportPlan, name: str) -> ExportPlan:
    return replace(plan, options=replace(plan.options, recipe=RECIPES[name]))


@pytest.mark.parametrize("recipe", PLAIN_NAMES)
def test_sizes_are_those_of_the_export(
    recipe: str, plan: ExportPlan, tiny_bundles: dict[str, Path]
) -> None:
    """Of every section and of the file, within the error that is told; that is a part of the file."""
    bundle = open_bundle(tiny_bundles[recipe])
    made = {section.metadata.get("model_type"): section.nbytes for section in bundle.sections}
    whole = tiny_bundles[recipe].stat().st_size
    found = forecast_of_plan(with_recipe(plan, recipe))
    assert found.graphs_known
    assert abs(found.nbytes - whole) <= found.error_bytes < whole / 15
    sections = {name: n for name, n in found.sections.items() if name.startswith("tf_lite")}
    assert len(sections) == 4
    for name, nbytes in sections.items():
        assert abs(nbytes - made[name]) <= found.error_bytes / 4, name
    assert 2 * whole <= found.disk_bytes
    configs = read_json(TINY_TARGET / "config.json"), read_json(TINY_DRAFTER / "config.json")
    options = replace(plan.options, recipe=RECIPES[recipe], vision=False)
    rough = forecast_of_configs(*configs, "tiny", options, [NONE_READ])
    assert rough.graphs_known is None
    assert abs(rough.nbytes - whole) <= rough.error_bytes


def test_times_are_measured_and_those_of_calibration_are_not_foretold(plan: ExportPlan) -> None:
    found = forecast_of_plan(with_recipe(plan, "int4-clip"))
    assert found.seconds is not None
    assert 0 < found.seconds < 60
    assert found.measured_bytes > 0
    gptq = built_in("mixed-gptq")
    assert gptq is not None
    calibrated = replace(plan, options=replace(plan.options, recipe=gptq))
    assert forecast_of_plan(calibrated).seconds is None
    assert (forecast_of_plan(calibrated).memory_bytes or 0) > (found.memory_bytes or 0)
    caches = replace(plan, options=replace(plan.options, kv_dtype=Dtype.INT8))
    assert forecast_of_plan(caches).memory_bytes is None


@pytest.mark.parametrize(("size", "documented"), [("e2b", 4.5e9), ("e4b", 3.1e9)])
def test_the_memory_that_is_documented_of_calibration(size: str, documented: float) -> None:
    gptq = built_in("mixed-gptq")
    assert gptq is not None
    found = forecast_of_configs(*PUBLISHED[size], size, ExportOptions(gptq), [NONE_READ])
    assert found.memory_bytes is not None
    assert abs(found.memory_bytes - documented) < 0.4e9


def test_graphs_that_are_not_known(
    plan: ExportPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take longer and more memory, and the sizes are less sure."""
    known = forecast_of_plan(plan)
    monkeypatch.setenv("MTP_EXPORT_CACHE", str(tmp_path))
    other = replace(plan, contract=replace(plan.contract, cache_length=1000, placeholder=None))
    found = forecast_of_plan(other)
    assert not found.graphs_known
    assert found.error_bytes > known.error_bytes
    assert (found.memory_bytes or 0) > (known.memory_bytes or 0)
    fresh = replace(plan, options=replace(plan.options, fresh_graphs=True))
    assert not forecast_of_plan(fresh).graphs_known


def test_the_shape_of_e2b() -> None:
    """By the documented measurement of an export with int4 (docs/benchmarks.md): 2.63 GB without towers."""
    options = ExportOptions(RECIPES["int4"], vision=False, audio=False)
    found = forecast_of_configs(*PUBLISHED["e2b"], "E2B", options, [NONE_READ])
    assert abs(found.nbytes - 2.63e9) < 0.01e9 + found.error_bytes
    assert found.missing_bytes == 10_000_000_000


def test_rows_that_do_not_fit_are_told_at_once() -> None:
    """Without the checkpoint as with it: each kind of tensor once, not in every layer that is as wide."""
    rules = Rule("target.*.mlp.*", Storage.INT4_BLOCK128), Rule("target.*", Storage.INT8)
    config = read_json(TINY_TARGET / "config.json")
    narrow = {**config["text_config"], "hidden_size": 96, "intermediate_size": 96}
    described = {**config, "text_config": narrow}
    options = ExportOptions(Recipe("mine", "", rules), vision=False)
    with pytest.raises(RecipeError, match="recipe mine: 4 problems") as raised:
        forecast_of_configs(described, None, "narrow", options, [NONE_READ])
    assert "target.layers.0.mlp.up_proj.weight has rows of 96 elements" in str(raised.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_printed(here: Path) -> None:
    done = run("export", TINY_TARGET, "--recipe", "int4", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "output: target-int4.litertlm (inferred" in done.stderr
    lines = done.stdout.splitlines()
    size = shown_size(sum(path.stat().st_size for path in TINY_TARGET.iterdir()))
    assert lines[0] == f"would read the target, {TINY_TARGET}: 6 files, {size}"
    assert lines[2].startswith("would make target-int4.litertlm: ")
    assert lines[-1] == "nothing was written"
    assert list(here.iterdir()) == []


def test_as_json(here: Path) -> None:
    """Of a folder, for which nothing but the package itself has to be installed."""
    extras = ("huggingface_hub", "litert_lm", "litert_torch", "tokenizers", "torch", "transformers")
    options = ("--no-drafter", "--dry-run", "--json")
    done = run_without(extras, "export", TINY_TARGET, *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["output"], found["drafter"]) == ("target-mixed-clip.litertlm", None)
    assert found["bytes"] == sum(found["sections"].values())
    assert {file["name"] for file in found["files"]} == {
        path.name for path in TINY_TARGET.iterdir()
    }
    assert all(file["here"] for file in found["files"])
    assert found["download_bytes"] == 0
    assert list(here.iterdir()) == []


def test_what_the_export_would_refuse(here: Path) -> None:
    """The dry run does, too."""
    target = here / "target"
    shutil.copytree(TINY_TARGET, target, copy_function=os.link)
    (target / "tokenizer.json").unlink()
    done = run("export", target, TINY_DRAFTER, "--dry-run")
    assert done.returncode == 1
    assert "tokenizer.json" in done.stderr


def test_a_disk_without_room(small_disk: Path) -> None:
    done = run("export", TINY_TARGET, "-o", f"{small_disk}/", "--dry-run")
    assert done.returncode == 1
    assert "would make" in done.stdout
    assert "GB are needed while exporting" in done.stderr


@pytest.mark.parametrize("given", [("--json",), ("--dry-run", "--format", "onnx")])
def test_what_makes_no_sense(given: tuple[str, ...], here: Path) -> None:
    assert run("export", TINY_TARGET, *given).returncode == 2
