"""Recipes that do not fit a model are refused before anything is made, all offences at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.conflicts import check_recipe
from exporter.contract.names import Section
from exporter.errors import RecipeError
from exporter.options import ExportOptions
from exporter.weights.matching import Weights, find_weights
from exporter.weights.parameters import parameter_specs
from quantize.builtin_recipes import RECIPES, built_in
from quantize.recipe import Algorithm, Recipe, Rule
from quantize.recipe_file import write_recipe
from quantize.storage import Storage
from tests.bundles import TINY_DRAFTER, TINY_TARGET
from tests.command import Done
from tests.export.command import run

TEXT = Path("text.txt")
"""Whether there is one is all that counts here."""


@pytest.fixture(scope="module")
def weights() -> Iterator[Weights]:
    pair = Pair.of(open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER))
    specs = parameter_specs(pair.target_config, pair.drafter_config, HeadKind.CENTROID)
    with TensorReader() as reader:
        yield find_weights(specs, pair.target, pair.drafter, reader)


@pytest.mark.parametrize("name", RECIPES)
def test_built_in_recipes_fit(name: str, weights: Weights) -> None:
    check_recipe(ExportOptions(RECIPES[name]), weights)


def test_a_rule_for_the_drafter_may_be_idle_without_one(weights: Weights) -> None:
    target: Weights = {s: found for s, found in weights.items() if s is not Section.MTP_DRAFTER}
    check_recipe(ExportOptions(RECIPES["mixed"]), target)


def test_every_offence_is_told(weights: Weights) -> None:
    rules = (
        Rule("target.embed_tokens.weight", Storage.INT4, Algorithm.GPTQ),
        Rule("target.layers.*.per_layer_projection.weight", Storage.INT4_BLOCK128),
        Rule("target.layers.*.mlp_gate.weight", Storage.INT8),
        Rule("target.norm.weight", Storage.INT8),
        Rule("target.*", Storage.INT4),
    )
    with pytest.raises(RecipeError) as raised:
        check_recipe(ExportOptions(Recipe("mine", "", rules)), weights)
    for offence in (
        "recipe mine: 4 problems",
        "no matrix or table of this model matches target.layers.*.mlp_gate.weight, target.norm.weight",
        "target.layers.0.per_layer_projection.weight has rows of 32 elements, and int4-block128 needs "
        "a multiple of 128; give it int4-block32",
        "target.embed_tokens.weight is looked up and never multiplied",
        "gptq needs a text: give --calibration FILE.txt",
    ):
        assert offence in str(raised.value)
    assert "layers.1.per_layer_projection" not in str(raised.value)


def test_a_text_that_nothing_reads(weights: Weights) -> None:
    with pytest.raises(RecipeError, match="no rule is gptq"):
        check_recipe(ExportOptions(RECIPES["int4-clip"], calibration=TEXT), weights)


def test_a_calibrated_recipe_fits(weights: Weights) -> None:
    recipe = built_in("int4-block32-gptq")
    assert recipe is not None
    check_recipe(ExportOptions(recipe, calibration=TEXT), weights)


@pytest.mark.parametrize(
    ("recipe", "code", "message"),
    [
        ("int1", 2, "'int1' is no recipe; choose one of float32, int8"),
        ("absent.json", 1, "absent.json: expected a recipe (No such file or directory)"),
        pytest.param("int4-gptq", 1, "gptq needs a text", marks=pytest.mark.slow),
    ],
)
def test_the_command_refuses(recipe: str, code: int, message: str, tmp_path: Path) -> None:
    done = export(recipe, tmp_path / "out.litertlm")
    assert done.returncode == code
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_takes_a_file(tmp_path: Path) -> None:
    """The same rules under another name make a bundle of the same size."""
    file = tmp_path / "mine.json"
    file.write_text(write_recipe(Recipe("mine", "", RECIPES["int4-block64"].rules)))
    sizes = []
    for recipe in (str(file), "int4-block64"):
        output = tmp_path / "out.litertlm"
        done = export(recipe, output)
        assert done.returncode == 0, done.stderr
        sizes.append(output.stat().st_size)
    assert abs(sizes[0] - sizes[1]) <= 16 * 1024  # the manifest has the name


def export(recipe: str, output: Path) -> Done:
    return run("-o", output, "--recipe", recipe, "--force")
