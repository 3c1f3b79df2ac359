"""How large each recipe makes the sections of a full-size bundle, without making one.

    python scripts/recipe_sizes.py --size e2b [RECIPE.json ...]

Weights and scales only: a graph adds about a megabyte. With recipe files, those; else all built-in
recipes, of which an algorithm changes no size.
"""

from __future__ import annotations

import math
from pathlib import Path

import click
from planted_pair.sizes import SIZES

from exporter.bind import BLOCK_SCALE_BYTES, SCALE_BYTES
from exporter.config import parse_drafter, parse_target
from exporter.contract import Dtype, Section, TensorSpec
from exporter.heads import HeadKind
from exporter.parameters import parameter_specs
from exporter.tensor_names import recipe_name
from quantize.builtin_recipes import PLAIN_NAMES, RECIPES
from quantize.recipe import UNQUANTISED, Recipe
from quantize.recipe_file import read_recipe


@click.command()
@click.option("--size", type=click.Choice(["e2b", "e4b"]), default="e2b", show_default=True)
@click.option(
    "--drafter-head", type=click.Choice([kind.value for kind in HeadKind]), default="centroid"
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def main(size: str, drafter_head: str, files: tuple[Path, ...]) -> None:
    """Print megabytes of each section."""
    target = parse_target(SIZES[size].target_config(), size)
    drafter = parse_drafter(SIZES[size].drafter_config(), size)
    specs = parameter_specs(target, drafter, HeadKind(drafter_head))
    recipes = [read_recipe(file) for file in files] or [RECIPES[name] for name in PLAIN_NAMES]
    click.echo(
        f"| {size}, MB | {' | '.join(s.value.removeprefix('tf_lite_') for s in specs)} | all |"
    )
    click.echo("|---|" + "---:|" * (len(specs) + 1))
    for recipe in recipes:
        sizes = [_section(recipe, section, specs[section]) / 1e6 for section in specs]
        cells = " | ".join(f"{megabytes:,.0f}" for megabytes in (*sizes, sum(sizes)))
        click.echo(f"| {recipe.name} | {cells} |")


def _section(recipe: Recipe, section: Section, specs: dict[str, TensorSpec]) -> int:
    named = ((recipe_name(section, name), spec) for name, spec in specs.items())
    return sum(_tensor(recipe, name, spec) for name, spec in named)


def _tensor(recipe: Recipe, name: str, spec: TensorSpec) -> int:
    rows, columns = math.prod(spec.shape[:-1]), spec.shape[-1]
    matrix = spec.dtype is Dtype.FLOAT32 and len(spec.shape) == 2
    storage = (recipe.rule(name) if matrix else UNQUANTISED).storage
    scale = BLOCK_SCALE_BYTES if storage.block else SCALE_BYTES
    return rows * (columns * storage.bits // 8 + storage.scales_per_row(columns) * scale)


if __name__ == "__main__":
    main()
