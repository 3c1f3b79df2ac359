"""Which rule decides, what the built-in recipes are called, and recipe files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.errors import RecipeError
from quantize.builtin_recipes import PLAIN_NAMES, PLANS, RECIPES, TABLES, built_in
from quantize.recipe import Algorithm, Recipe, Rule
from quantize.recipe_file import as_recipe_name, parse_recipe, read_recipe, write_recipe
from quantize.storage import Storage

GATE = "target.layers.3.mlp.gate_proj.weight"
HEAD = "target.lm_head.weight"
EMBEDDING, PER_LAYER_TABLE = TABLES
PER_LAYER = (
    "target.layers.0.per_layer_input_gate.weight",
    "target.layers.0.per_layer_projection.weight",
    "target.per_layer_model_projection.weight",
)
DRAFTER_QUERY = "drafter.layers.0.self_attn.q_proj.weight"
DRAFTER_MLP = "drafter.layers.0.mlp.up_proj.weight"


def test_the_first_matching_rule_decides() -> None:
    rules = (
        Rule("target.layers.0.*", Storage.FLOAT32),
        Rule("target.*.gate_proj.weight", Storage.INT4, Algorithm.CLIP),
        Rule("target.*", Storage.INT8),
    )
    recipe = Recipe("mine", "", rules)
    assert recipe.storage("target.layers.0.mlp.gate_proj.weight") is Storage.FLOAT32
    assert recipe.rule("target.layers.1.mlp.gate_proj.weight") is rules[1]
    assert recipe.storage("target.layers.1.mlp.up_proj.weight") is Storage.INT8
    assert recipe.storage("drafter.lm_head.weight") is Storage.FLOAT32
    backwards = Recipe("mine", "", rules[::-1])
    assert backwards.storage("target.layers.0.mlp.gate_proj.weight") is Storage.INT8


def test_unmatched_patterns() -> None:
    """Patterns that match no tensor, even if an earlier rule takes all the tensors they match."""
    recipe = Recipe(
        "mine",
        "",
        (
            Rule("target.*", Storage.INT4),
            Rule("target.a", Storage.INT8),
            Rule("target.layer.*", Storage.INT8),
            Rule("Drafter.*", Storage.INT8),
        ),
    )
    names = iter(["target.a", "drafter.b"])
    assert recipe.unmatched(names) == ["target.layer.*", "Drafter.*"]
    assert recipe.unmatched([]) == [rule.pattern for rule in recipe.rules]


@pytest.mark.parametrize(
    ("name", "matrix", "embedding", "table", "per_layer", "drafter"),
    [
        ("float32", *["float32"] * 5),
        ("int8", *["int8"] * 5),
        ("int4", "int4", "int4", "int4", "int4", "int8"),
        ("int4-block32", "int4-block32", "int4", "int4", "int8", "int8"),
        ("int4-block64-clip", "int4-block64", "int4", "int4", "int8", "int8"),
        ("int4-block128-gptq", "int4-block128", "int4", "int4", "int8", "int8"),
        ("mixed", "int4", "int8", "int4", "int8", "int4"),
        ("smallest", "int2", "int2", "int2", "int4", "int4"),
    ],
)
def test_built_in_recipes(
    name: str, matrix: str, embedding: str, table: str, per_layer: str, drafter: str
) -> None:
    recipe = built_in(name)
    assert recipe is not None
    assert recipe.name == name
    assert recipe.storage(GATE) == recipe.storage(HEAD) == matrix
    assert recipe.storage(EMBEDDING) == embedding
    assert recipe.storage(PER_LAYER_TABLE) == table
    assert {recipe.storage(tensor) for tensor in PER_LAYER} == {per_layer}
    assert recipe.storage(DRAFTER_MLP) == drafter


def test_mixed_keeps_the_drafters_attention() -> None:
    recipe = RECIPES["mixed"]
    names = ("layers.3.self_attn.o_proj", "pre_projection", "post_projection")
    assert {recipe.storage(f"drafter.{name}.weight") for name in names} == {Storage.INT8}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("algorithm", Algorithm)
def test_names_end_with_the_algorithm(name: str, algorithm: Algorithm) -> None:
    recipe = built_in(f"{name}-{algorithm.value}")
    assert recipe is not None
    assert recipe.rule(GATE).algorithm is recipe.rule(DRAFTER_QUERY).algorithm is algorithm
    looked_up = Algorithm.CLIP if algorithm is Algorithm.GPTQ else algorithm
    assert {recipe.rule(table).algorithm for table in TABLES} == {looked_up}
    assert recipe.storage(EMBEDDING) is RECIPES[name].storage(EMBEDDING)
    assert recipe.calibrated == (algorithm is Algorithm.GPTQ)


@pytest.mark.parametrize(
    ("name", "algorithm"), [("mixed", Algorithm.MINMAX), ("smallest", Algorithm.CLIP)]
)
def test_plain_names(name: str, algorithm: Algorithm) -> None:
    recipe, long = built_in(name), built_in(f"{name}-{algorithm.value}")
    assert recipe is not None
    assert long is not None
    assert (recipe.rules, recipe.summary) == (long.rules, long.summary)


@pytest.mark.parametrize("name", ["int3", "float32-clip", "int4-octav", "clip", "", "-clip"])
def test_names_that_are_no_recipe(name: str) -> None:
    assert built_in(name) is None


def test_recipes_are_filed_under_their_names() -> None:
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {n: n for n in RECIPES}
    assert set(PLAIN_NAMES) < set(RECIPES)
    assert not any(recipe.calibrated for recipe in RECIPES.values())


@pytest.mark.parametrize("name", [*RECIPES, "mixed-gptq"])
def test_a_recipe_file_says_the_same(tmp_path: Path, name: str) -> None:
    recipe = built_in(name)
    assert recipe is not None
    if recipe.rules:  # float32 has none, and a file must have one
        file = tmp_path / "recipe.json"
        file.write_text(write_recipe(recipe))
        assert read_recipe(file) == recipe


def test_every_offence_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    rules = [
        {"pattern": "target.*", "storage": "int5", "algorithm": "octav"},
        {"storage": "int4", "bits": 4},
        {"pattern": "", "storage": "float32", "algorithm": "clip"},
        "int4",
    ]
    file.write_text(json.dumps({"summary": 3, "rules": rules, "extra": 1}))
    with pytest.raises(RecipeError) as raised:
        read_recipe(file)
    for offence in (
        str(file),
        "the recipe has no name",
        "the recipe has an unknown key 'extra', expected name, rules, summary",
        "the recipe: summary must be text, found 3",
        "rule 1: storage must be one of float32, int8, int4, int4-block32, int4-block64, "
        "int4-block128, int2, found 'int5'",
        "rule 1: algorithm must be one of minmax, clip, gptq, found 'octav'",
        "rule 2 has no pattern",
        "rule 2 has an unknown key 'bits'",
        "rule 3: pattern must be text, found ''",
        "rule 3: float32 takes no algorithm",
        "rule 4 must be an object, found 'int4'",
        "10 problems",
    ):
        assert offence in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "the recipe must be an object"),
        ("{", "expected a recipe as JSON"),
        ('{"name": "a", "rules": []}', "at least one rule"),
        ('{"name": "../a b", "rules": []}', r"the name must be of letters.*found '\.\./a b'"),
        ('{"name": "a", "name": "b", "rules": [1]}', "the key 'name' twice"),
    ],
)
def test_what_is_no_recipe(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_recipe(file)


@pytest.mark.parametrize(
    ("text", "name"), [("mine-2.1", "mine-2.1"), ("a b/../c", "a-b-..-c"), ("?", "recipe")]
)
def test_names_are_found_for_anything(text: str, name: str) -> None:
    assert as_recipe_name(text) == name
    rules = [{"pattern": "*", "storage": "int8"}]
    assert parse_recipe({"name": name, "rules": rules}, "here").name == name


def test_a_recipe_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.json: expected a recipe"):
        read_recipe(tmp_path / "absent.json")
