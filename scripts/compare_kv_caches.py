"""Calls over int8 caches against the same calls over float32 caches.

    python scripts/compare_kv_caches.py /tmp/e2b --kept /tmp/graphs

Both kinds of graphs are lowered from the planted pair's own sizes, bound to the same weights, and run in one
process, one call of each in turn. Prints the time of each call by that of its float32 twin.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import click
from speed.clocks import alternate, load
from speed.graphs import PlantedPair, Wanted, drafter_of, verify_of, write_section
from speed.litert import LitertFile

from exporter.contract import DRAFT, Dtype
from quantize.builtin_recipes import RECIPES
from quantize.recipe import Recipe

KINDS = (Dtype.FLOAT32, Dtype.INT8)


@click.command()
@click.argument("pair", type=click.Path(path_type=Path, exists=True))
@click.option("--kept", type=click.Path(path_type=Path), required=True, help="For graphs, files.")
@click.option("--recipe", type=click.Choice(list(RECIPES)), default="int4", show_default=True)
@click.option("--cache-length", default=4096, show_default=True)
@click.option("--tokens", default=4, show_default=True, help="Of a verify.")
@click.option("--calls", default=30, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(
    pair: Path, kept: Path, recipe: str, cache_length: int, tokens: int, calls: int, threads: int
) -> None:
    """Compare decode, verify and draft of PAIR, a folder made by make_planted_pair.py."""
    kept.mkdir(parents=True, exist_ok=True)
    click.echo(f"cache of {cache_length}, {threads} threads, {load()}")
    chosen = RECIPES[recipe]
    for name, signature, sections in (
        ("target", "decode", _targets(PlantedPair(pair), chosen, cache_length, 1)),
        ("target", f"verify_{tokens}", _targets(PlantedPair(pair), chosen, cache_length, tokens)),
        ("drafter", DRAFT, _drafters(PlantedPair(pair), chosen, cache_length)),
    ):
        with ExitStack() as stack:
            calling = {}
            for kind, wanted in sections.items():
                path = kept / f"{name}.{signature}.{kind}.tflite"
                if not path.exists():
                    write_section(PlantedPair(pair), chosen, [wanted], kept, path)
                file = stack.enter_context(closing(LitertFile.of(path, threads)))
                calling[kind.value] = file.call(signature)
            costs = alternate(calling, calls)
        ours, theirs = costs[Dtype.INT8.value], costs[Dtype.FLOAT32.value]
        click.echo(
            f"{signature:12} {ours.cpu * 1e3:7.2f} ms CPU, {ours.cpu / theirs.cpu:.3f} of float32's "
            f"{theirs.cpu * 1e3:.2f}; wall {ours.wall / theirs.wall:.3f}"
        )


def _targets(
    pair: PlantedPair, recipe: Recipe, cache_length: int, tokens: int
) -> dict[Dtype, Wanted]:
    return {kind: verify_of(pair, recipe, cache_length, tokens, kind) for kind in KINDS}


def _drafters(pair: PlantedPair, recipe: Recipe, cache_length: int) -> dict[Dtype, Wanted]:
    return {kind: drafter_of(pair, recipe, cache_length, kv_dtype=kind) for kind in KINDS}


if __name__ == "__main__":
    main()
