"""The target as it will be deployed: a bundle that answers, and the recipe that its weights are stored by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.bundle.reader import open_bundle
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.manifest import stored_recipe
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.progress import Reporter
from exporter.tune.options import TuneError, TuningOptions
from quantize.builtin_recipes import RECIPES
from quantize.evidence import RECOMMENDED
from quantize.recipe import Recipe

EXPORTED = "target.litertlm"


@dataclass(frozen=True)
class Deployed:
    """A bundle of the target, and its recipe."""

    bundle: Path
    recipe: Recipe


def recipe_of(options: TuningOptions, hashes: Mapping[str, str]) -> Recipe:
    """The recipe of the bundle that was given, else the one that was asked for, else export's default.

    Args:
        options: What the user chose.
        hashes: SHA-256 of the target's files, by name; a bundle must have been made of them.

    Raises:
        TuneError: The bundle is of another target or recipe, or the recipe depends on a text.
        BundleError: It is no bundle.
    """
    recipe = options.recipe or RECIPES[RECOMMENDED]
    if options.bundle is not None:
        recipe = _recipe_of_bundle(options.bundle, hashes)
        asked = options.recipe
        if asked is not None and asked.to_json() != recipe.to_json():
            raise TuneError(
                f"{options.bundle}: expected a bundle of recipe {asked.name}, found {recipe.name}; leave "
                "--recipe out, or give another bundle"
            )
    if recipe.calibrated:
        raise TuneError(
            f"recipe {recipe.name}: the codes of gptq depend on a text that only an export reads; tune for "
            "the same storages with -clip instead, which the drafter hardly tells apart"
        )
    return recipe


def _recipe_of_bundle(bundle: Path, hashes: Mapping[str, str]) -> Recipe:
    manifest: Mapping[str, Any] | None = open_bundle(bundle).manifest()
    if manifest is None:
        raise TuneError(
            f"{bundle}: expected a bundle made by mtp-export, found one without its manifest; leave --bundle "
            "out, and one is made"
        )
    found = manifest.get("sources", {}).get("target", {}).get("sha256", {})
    if found != hashes:
        differing = sorted(n for n in {*found, *hashes} if found.get(n) != hashes.get(n))
        raise TuneError(
            f"{bundle}: expected a bundle of TARGET with the adapter of --lora, found one of other files "
            f"({', '.join(differing)}); export it again, or leave --bundle out"
        )
    return stored_recipe(manifest)


def deploy(
    target: Checkpoint,
    drafter: Checkpoint,
    options: TuningOptions,
    recipe: Recipe,
    work: Path,
    reporter: Reporter,
) -> Deployed:
    """The bundle that was given, or one that is made in the work folder, of text alone.

    It has the drafter as it is, whose graphs are known, so that nothing is lowered for E2B and E4B.
    """
    if options.bundle is not None:
        return Deployed(options.bundle, recipe)
    bundle = work / EXPORTED
    if not bundle.exists():
        chosen = ExportOptions(recipe, vision=False, audio=False)
        export(target, drafter, bundle, chosen, reporter)
    return Deployed(bundle, recipe)
