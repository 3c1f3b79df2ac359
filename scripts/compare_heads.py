"""A draft step with the centroid head against one with the full head.

    python scripts/compare_heads.py /tmp/e2b --kept /tmp/graphs

Both drafters are lowered from the planted pair's own sizes, bound to the same weights, and run in one
process, one call of each in turn. The full head scores all V tokens; the centroid head the clusters,
then `top_k` clusters' tokens.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import click
from speed.clocks import alternate, load
from speed.graphs import PlantedPair, drafter_of, write_section
from speed.litert import LitertFile

from exporter.checkpoints.architecture import HeadKind
from exporter.contract.names import DRAFT
from quantize.builtin_recipes import RECIPES


@click.command()
@click.argument("pair", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--kept",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the files that are made, kept between runs.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="int4",
    show_default=True,
    help="How the drafter's weights are stored.",
)
@click.option("--cache-length", default=4096, show_default=True, help="Slots of the caches.")
@click.option("--calls", default=60, show_default=True, help="Timed calls of each head.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
def main(pair: Path, kept: Path, recipe: str, cache_length: int, calls: int, threads: int) -> None:
    """Compare both heads of the drafter of PAIR, a folder made by make_planted_pair.py."""
    with ExitStack() as stack:
        sides = {}
        for head in HeadKind:
            wanted = drafter_of(PlantedPair(pair), RECIPES[recipe], cache_length, head)
            path = kept / f"drafter.{head.value}.tflite"
            kept.mkdir(parents=True, exist_ok=True)
            write_section(PlantedPair(pair), RECIPES[recipe], [wanted], path)
            file = stack.enter_context(closing(LitertFile.of(path, threads)))
            sides[head.value] = file.call(DRAFT)
        costs = alternate(sides, calls)
    full = costs[HeadKind.FULL.value]
    click.echo(f"one draft step, cache of {cache_length}, {threads} threads, {load()}")
    for name, cost in costs.items():
        spread = f"{cost.low * 1e3:.2f} to {cost.high * 1e3:.2f}"
        ratios = f"CPU {cost.cpu / full.cpu:.3f}, wall {cost.wall / full.wall:.3f} of the full head"
        click.echo(f"{name:9} {cost.cpu * 1e3:6.2f} ms CPU ({spread})  {ratios}")


if __name__ == "__main__":
    main()
