"""`recipes TARGET`: sizes from configs alone, losses as documented, and what is recommended."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.architecture import HeadKind
from exporter.contract.names import Section
from exporter.options import ExportOptions
from exporter.plan.recipe_sizes import (
    beside_weights,
    described_weights,
    read_config,
    section_sizes,
    stored_bytes,
)
from quantize.builtin_recipes import FLOAT32, RECIPES, built_in
from quantize.evidence import BEST_FIRST, COSTS, RECOMMENDED, WITH_A_TEXT, Cost
from quantize.recipe_file import read_recipe
from tests.bundles import ROOT, TINY_DRAFTER, TINY_TARGET
from tests.checkpoints.written_configs import PUBLISHED
from tests.command import Done, run

TEXT_ONLY = ExportOptions(FLOAT32, vision=False, audio=False)
ROW = re.compile(r"^\| `?([\w-]+)`? \|(.*)\|$", re.MULTILINE)
"""A row of a table in a document: its first cell, and the others."""

GOOGLE_E2B = {
    Section.EMBEDDER: 104, Section.PER_LAYER_EMBEDDER: 1285,
    Section.PREFILL_DECODE: 818, Section.MTP_DRAFTER: 44,
}  # fmt: skip
"""MB of sections in Google's bundle of E2B."""


def rows(document: str, heading: str) -> dict[str, list[str]]:
    """The tables behind a heading, by their first cells."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return {
        name: [cell.strip() for cell in cells.split("|")]
        for name, cells in ROW.findall(text.split(f"## {heading}\n")[1].split("\n## ")[0])
    }


def sizes_of(name: str, recipe: str, options: ExportOptions = TEXT_ONLY) -> dict[Section, int]:
    found = built_in(recipe)
    assert found is not None
    sizes = section_sizes(described_weights(*PUBLISHED[name], name, options), found)
    assert sizes is not None
    return sizes


def test_the_documented_sizes_are_those_of_the_published_shapes() -> None:
    found = {
        name: int(cells[-1])
        for name, cells in rows("recipes.md", "Names").items()
        if name in RECIPES
    }
    assert len(found) == 8
    assert found == {name: round(sum(sizes_of("e2b", name).values()) / 1e6) for name in found}


def test_the_costs_are_those_of_the_document() -> None:
    """Recipe, MB, drafter, perplexity, by float32's, KL, top-1, accepted, paired, by position, lost."""
    table = rows("quantisation.md", "What was found")
    measured = {
        name: Cost(float(cells[3]), float(cells[4].split()[0]), float(cells[9].split()[0]))
        for name, cells in table.items()
        if built_in(name) is not None
    }
    assert measured == COSTS


@pytest.mark.parametrize("size", sorted(PUBLISHED))
def test_each_recommendation_is_smaller_than_the_one_before(size: str) -> None:
    totals = [sum(sizes_of(size, name).values()) for name in BEST_FIRST]
    assert totals == sorted(totals, reverse=True)
    assert sizes_of(size, WITH_A_TEXT) == sizes_of(size, RECOMMENDED)


def test_the_recipe_of_googles_bundle() -> None:
    """By E2B's shapes, every section that it shapes is no larger than Google's."""
    recipe = read_recipe(ROOT / "docs" / "recipes" / "google-e2b.json")
    options = ExportOptions(FLOAT32, vision=False, audio=False, drafter_head=HeadKind.FULL)
    ours = section_sizes(described_weights(*PUBLISHED["e2b"], "e2b", options), recipe)
    assert ours is not None
    assert {
        section: round(n / 1e6) <= GOOGLE_E2B[section] for section, n in ours.items()
    } == dict.fromkeys(GOOGLE_E2B, True)


@pytest.mark.parametrize("recipe", ["int8", "mixed"])
def test_a_bundle_has_the_weights_and_bytes_that_were_told(
    recipe: str, tiny_bundles: dict[str, Path]
) -> None:
    """Scales are not in the manifest's figures, and the whole file is no larger than what was told of it."""
    bundle = open_bundle(tiny_bundles[recipe])
    manifest = bundle.manifest()
    assert manifest is not None
    config = read_config(str(TINY_TARGET))
    told = described_weights(config, read_config(str(TINY_DRAFTER)), "tiny", TEXT_ONLY)
    chosen = RECIPES[recipe]
    for section, stored in manifest["weights"].items():
        specs = told[Section(section)]
        assert stored.keys() == specs.keys()
        for name, (storage, nbytes) in stored.items():
            told_bytes = stored_bytes(name, specs[name], chosen)
            scaled = 12 * specs[name].shape[0] if storage not in ("float32", "int32") else 0
            assert told_bytes == nbytes + scaled, name
    sizes = section_sizes(told, chosen)
    assert sizes is not None
    whole = tiny_bundles[recipe].stat().st_size
    assert sum(sizes.values()) < whole < sum(sizes.values()) + beside_weights(config, "tiny")


def published(tmp_path: Path, *options: str) -> Done:
    """The command for E2B, of which there is nothing but the two configs."""
    folders = [tmp_path / role for role in ("target", "drafter")]
    for folder, config in zip(folders, PUBLISHED["e2b"], strict=True):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
    return run("recipes", *folders, *options)


def test_the_document_shows_what_is_printed(tmp_path: Path) -> None:
    document = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    shown = document.split("```\n")[2]
    assert "recommended" in shown
    assert published(tmp_path).stdout.startswith(shown)


@pytest.mark.parametrize(
    ("options", "best"),
    [
        ((), "mixed-clip"),
        (("--fits", "6GB"), "int8"),
        (("--fits", "3.4 gb"), "mixed-clip"),
        (("--fits", "3290MB"), "int4-block32-clip"),
        (("--fits", "3GB"), "smallest"),
        (("--fits", "3GB", "--no-vision", "--no-audio"), "mixed-clip"),
    ],
)
def test_the_best_that_fits_is_recommended(
    options: tuple[str, ...], best: str, tmp_path: Path
) -> None:
    shown = published(tmp_path, *options).stdout
    assert f"recommended: --recipe {best} (" in shown
    assert ("that loss is large" in shown) == (best == "smallest")
    assert ("with --no-audio there is room for int4-block32-clip" in shown) == (best == "smallest")
    found = json.loads(published(tmp_path, *options, "--json").stdout)
    assert [each["name"] for each in found if each["recommended"]] == [best]
    assert sum(found[0]["sizes"].values()) == found[0]["bytes"]


def test_a_recipe_of_ones_own_is_sized(tmp_path: Path) -> None:
    file = ROOT / "docs" / "recipes" / "google-e2b.json"
    found = json.loads(published(tmp_path, "--recipe", str(file), "--json").stdout)[-1]
    assert found["name"] == "google-e2b"
    assert found["cost"] is None
    assert found["sizes"]["tf_lite_embedder"] == 103_809_024


def test_a_recipe_of_ones_own_is_not_taken_for_a_built_in_one(tmp_path: Path) -> None:
    """Its losses were not measured, and what it stores is its own."""
    file = tmp_path / "own.json"
    rules = [{"pattern": "*", "storage": "int4"}]
    file.write_text(json.dumps({"name": "mixed-clip", "rules": rules}))
    done = run("recipes", TINY_TARGET, "--recipe", file)
    assert done.returncode == 2
    assert "mixed-clip is a built-in recipe: give yours another name" in done.stderr
    file.write_text(json.dumps({"name": "mine-clip", "rules": rules}))
    done = run("recipes", TINY_TARGET, "--recipe", file)
    assert any(line.startswith("mine-clip ") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("{0}", "--fits", "1MB"),
            1,
            "no recipe makes a bundle of 1.0 MB of this model: with `smallest`",
        ),
        (("{0}", "--fits", "much"), 2, "expected a size like 2.4GB"),
        (("--fits", "3GB"), 2, "give a TARGET"),
        (("{1}",), 1, "gemma4_assistant"),
        (("{2}",), 1, "expected a folder with a config.json, found"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], code: int, said: str) -> None:
    folders = TINY_TARGET, TINY_DRAFTER, TINY_TARGET.parent
    done = run("recipes", *(argument.format(*folders) for argument in arguments))
    assert done.returncode == code
    assert said in done.stderr
