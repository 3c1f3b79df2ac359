"""What a recipe makes of E2B or E4B: bytes by section, from shapes alone.

    python scripts/recipe_sizes.py [--size e2b] [NAME|FILE.json ...]

Weights with their scales; graphs (about 1.5 MB) and tokenizer are not counted.
"""

from __future__ import annotations

import math

import click
from planted_pair.sizes import SIZES

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.tensors.tensor_names import recipe_name
from exporter.cli.recipe_option import RECIPE
from exporter.contract.names import Dtype, Section, TensorSpec
from exporter.weights.parameters import parameter_specs
from quantize.builtin_recipes import PLAIN_NAMES, RECIPES
from quantize.recipe import Recipe

ROW_SCALE_BYTES = 12
"""A float32 scale and an int64 zero point."""

GOOGLE_E2B = {
    Section.EMBEDDER: 104, Section.PER_LAYER_EMBEDDER: 1285,
    Section.PREFILL_DECODE: 818, Section.MTP_DRAFTER: 44,
}  # fmt: skip
"""MB of the same sections in Google's bundle of E2B."""


@click.command()
@click.option(
    "--size",
    type=click.Choice(["e2b", "e4b"]),
    default="e2b",
    show_default=True,
    help="Whose shapes.",
)
@click.option(
    "--head",
    type=click.Choice([kind.value for kind in HeadKind]),
    default=HeadKind.CENTROID.value,
    show_default=True,
    help="The drafter's head.",
)
@click.argument("recipes", type=RECIPE, nargs=-1)
def main(size: str, head: str, recipes: tuple[Recipe, ...]) -> None:
    """Print a table in MB; RECIPES default to all that have no algorithm in their names."""
    target = parse_target(SIZES[size].target_config(), size)
    drafter = parse_drafter(SIZES[size].drafter_config(), size)
    specs = parameter_specs(target, drafter, HeadKind(head))
    click.echo(f"{'':16}" + "".join(f"{section.name:>20}" for section in specs) + f"{'all':>10}")
    for recipe in recipes or [RECIPES[name] for name in PLAIN_NAMES]:
        sums = [
            sum(stored_bytes(recipe_name(section, n), spec, recipe) for n, spec in found.items())
            for section, found in specs.items()
        ]
        click.echo(_line(recipe.name, [nbytes / 1e6 for nbytes in sums]))
    if size == "e2b":
        click.echo(_line("Google", [GOOGLE_E2B[section] for section in specs]))


def _line(name: str, megabytes: list[float]) -> str:
    cells = "".join(f"{each:20.1f}" for each in megabytes)
    return f"{name:16}{cells}{sum(megabytes):10.1f}"


def stored_bytes(name: str, spec: TensorSpec, recipe: Recipe) -> int:
    """Of one weight."""
    elements = math.prod(spec.shape)
    rows, length = elements // spec.shape[-1], spec.shape[-1]
    storage = recipe.storage(name)
    if spec.dtype is Dtype.INT32 or len(spec.shape) > 2 or not storage.quantised:
        return elements * 4
    scales = rows * storage.scales_per_row(length)
    return elements * storage.bits // 8 + scales * (2 if storage.block else ROW_SCALE_BYTES)


if __name__ == "__main__":
    main()
