"""``mtp-export quantize-search``: groups, trials on the tiny pair, budgets, the file it writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.compare.comparison import Sources
from exporter.compare.groups import Group, Way, group_tensors, parse_way
from exporter.compare.passages import PassagePlan
from exporter.compare.search import BudgetError, RecipeLimits, search
from exporter.compare.trials import REFERENCE, Trials, Whole, open_trials
from exporter.options import ExportOptions
from exporter.progress import SilentReporter
from quantize.recipe import Algorithm, Recipe
from quantize.recipe_file import parse_recipe, read_recipe, write_recipe
from quantize.storage import Storage
from tests.bundles import PROMPT_FILE, TINY_DRAFTER, TINY_TARGET
from tests.command import run, run_process

INT8, INT4 = Way(Storage.INT8, Algorithm.MINMAX), Way(Storage.INT4, Algorithm.MINMAX)
TRIED = ("target.layers.*.mlp.down_proj.weight", "target.layers.*.mlp.up_proj.weight")
"""Groups of one size that the tests search among; all else stays int8, so that trials are few."""


@dataclass(frozen=True)
class RememberedTrials(Trials):
    """A recipe that was tried before is not tried again."""

    known: dict[str, Whole] = field(default_factory=dict)

    def run(self, recipe: Recipe) -> Whole:
        written = write_recipe(recipe)
        if written not in self.known:
            self.known[written] = super().run(recipe)
        return self.known[written]

    def run_again(self, recipe: Recipe) -> Whole:
        return super().run(recipe)


@pytest.fixture(scope="module")
def sources() -> Sources:
    checkpoints = open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER)
    return Sources(*checkpoints, ExportOptions(REFERENCE))


@pytest.fixture(scope="module")
def groups(sources: Sources) -> dict[str, Group]:
    with sources.weights() as weights:
        return {group.pattern: group for group in group_tensors(weights, each=False)}


@pytest.fixture(scope="module")
def trials(
    sources: Sources, groups: dict[str, Group], tmp_path_factory: pytest.TempPathFactory
) -> RememberedTrials:
    text, plan = PROMPT_FILE.read_text(encoding="utf-8"), PassagePlan(4, 48, 16, 16)
    folder = tmp_path_factory.mktemp("trials")
    kinds = tuple(groups.values())
    opened = open_trials(sources, kinds, INT8, "found", text, plan, 2, folder)
    return RememberedTrials(**vars(opened))


@pytest.fixture(scope="module")
def tried(groups: dict[str, Group]) -> list[Group]:
    return [groups[pattern] for pattern in TRIED]


def test_groups_are_kinds_or_single_tensors(sources: Sources, groups: dict[str, Group]) -> None:
    with sources.weights() as weights:
        single = group_tensors(weights, each=True)
        names = {
            weight.name
            for section in weights.values()
            for weight in section.values()
            if weight.is_matrix
        }
    assert {group.pattern for group in single} == names
    assert len(groups) < len(single)
    rules = [INT8.rule(pattern) for pattern in groups]
    matching = {name: sum(rule.matches(name) for rule in rules) for name in names}
    assert set(matching.values()) == {1}, "a tensor belongs to two groups or to none"


def test_a_way_that_does_not_fit_a_row_is_seen() -> None:
    group = Group("x", frozenset({128, 96}))
    assert group.fits(parse_way("int4-block32-clip"))
    assert not group.fits(parse_way("int4-block128"))


@pytest.mark.parametrize("word", ["int8", "int4-clip", "int4-block32", "int4-block64-clip", "int2"])
def test_ways_are_written_as_they_are_read(word: str) -> None:
    assert parse_way(word).word == word


@pytest.mark.slow
def test_a_size_is_kept_with_the_least_damage(trials: RememberedTrials, tried: list[Group]) -> None:
    """Room for one step only: it goes to the group that is measured to mind least."""
    start = trials.run(trials.recipe({}))
    whole = trials.run(trials.recipe(dict.fromkeys(TRIED, INT4)))
    middle = (start.file_bytes + whole.file_bytes) // 2
    found = search(trials, tried, [INT4], RecipeLimits(file_bytes=middle), SilentReporter())
    assert found.measured.file_bytes <= middle
    assert found.measured.divergence <= whole.divergence
    assert {option.storage for option in found.chosen.values()} == {"int8", "int4"}
    read = parse_recipe(json.loads(write_recipe(found.recipe)), "here")
    assert read.rules == found.recipe.rules
    assert trials.run_again(read).file_bytes == found.measured.file_bytes


@pytest.mark.slow
def test_a_quality_budget_is_kept_by_what_is_measured_as_a_whole(
    trials: Trials, tried: list[Group]
) -> None:
    start = trials.run(trials.recipe({}))
    whole = trials.run(trials.recipe(dict.fromkeys(TRIED, INT4)))
    between = (start.divergence + whole.divergence) / 2
    found = search(trials, tried, [INT4], RecipeLimits(divergence=between), SilentReporter())
    assert found.measured.divergence <= between
    assert found.measured.file_bytes <= start.file_bytes
    json.dumps(found.to_json())


@pytest.mark.slow
def test_a_budget_that_cannot_be_kept_is_an_error(trials: Trials, tried: list[Group]) -> None:
    with pytest.raises(BudgetError, match="no recipe of these storages"):
        search(trials, tried, [INT4], RecipeLimits(file_bytes=1000), SilentReporter())


PAIR = ("quantize-search", TINY_TARGET, TINY_DRAFTER, "--text", PROMPT_FILE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a budget"),
        (["--max-size", "2MB", "--max-kl", "1"], "but not both"),
        (["--max-kl", "nan"], "nan is not a number"),
        (["--max-lost-acceptance", "nan"], "nan is not a number"),
        (["--max-size", "2 bananas"], "expected a size like 2.4GB"),
        (["--max-size", "1.2.3GB"], "expected a size like 2.4GB"),
        (["--max-size", "2MB", "--store", "int8"], "give --store twice"),
        (["--max-size", "2MB", "--only", "vision.*"], "no tensor of this pair matches"),
        (["--max-size", "2MB", "--store", "int3"], "expected <storage> or <storage>-<algorithm>"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run(*PAIR, "-o", tmp_path / "found.json", *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


@pytest.mark.slow
def test_the_command_writes_a_recipe_that_export_takes(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    few = ("--passages", "4", "--passage-length", "24", "--prompt-tokens", "8", "--new-tokens", "8")
    ways = ("--store", "int8", "--store", "int4-clip", "--only", "drafter.*.mlp.up_proj.weight")
    done = run(*PAIR, "-o", output, "--max-lost-acceptance", "0.5", *ways, *few)
    assert done.returncode == 0, done.stderr
    assert "as a whole" in done.stdout
    recipe = read_recipe(output)
    assert recipe.name == "found"
    smaller = [rule.pattern for rule in recipe.rules if rule.storage is Storage.INT4]
    assert smaller == ["drafter.layers.*.mlp.up_proj.weight"]
    assert all(rule.storage is Storage.INT8 for rule in recipe.rules if rule.pattern not in smaller)
    again = run_process(*PAIR, "-o", output, "--max-kl", "0.02")
    assert again.returncode == 1
    assert "exists already" in again.stderr
