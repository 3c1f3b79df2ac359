"""What a verify of T tokens costs, for T = 1 to 8, and which draft length follows.

    python scripts/verify_curve.py /tmp/e2b --recipe int4 --kept /tmp/graphs

All lengths are signatures of one file with one set of weights, and run in one process, one call of
each in turn; a verify of 1 token is the decode. The draft step is the drafter's of the same pair, by
the same clock. Then, for drafts that are each accepted with a chance c,

    speed-up(g) = (1 + c + ... + c^g) * decode / (g * draft + verify(g + 1))

All times are CPU time, so with one thread they hold on a busy machine; see scripts/speed/clocks.py.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import click
from speed.clocks import Cost, alternate, load
from speed.graphs import PlantedPair, drafter_of, verify_of, write_section
from speed.litert import LitertFile

from exporter.contract.names import DECODE, DRAFT
from quantize.builtin_recipes import RECIPES
from quantize.recipe import Recipe
from runtime_py.bench.curve import Known, speed_up

CHANCES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of a draft to be accepted if those before it were."""


def measure(
    pair: PlantedPair, recipe: Recipe, slots: int, tokens: list[int], calls: int, kept: Path
) -> tuple[dict[int, Cost], Cost]:
    """Cost of a verify by its tokens, and of a draft step; one thread."""
    kept.mkdir(parents=True, exist_ok=True)
    wanted = [verify_of(pair, recipe, slots, count) for count in tokens]
    target, drafter = kept / f"{recipe.name}.tflite", kept / f"{recipe.name}.drafter.tflite"
    write_section(pair, recipe, wanted, target)
    write_section(pair, recipe, [drafter_of(pair, recipe, slots)], drafter)
    with ExitStack() as stack:
        verifies = stack.enter_context(closing(LitertFile.of(target)))
        drafts = stack.enter_context(closing(LitertFile.of(drafter)))
        sides = {entry.name: verifies.call(entry.name) for entry in wanted}
        costs = alternate({**sides, DRAFT: drafts.call(DRAFT)}, calls)
    found = {count: costs[entry.name] for count, entry in zip(tokens, wanted, strict=True)}
    return found, costs[DRAFT]


def best_lengths(verifies: dict[int, Cost], draft: Cost) -> dict[float, dict[int, float]]:
    """Speed-up by draft length, for each chance."""
    decode = verifies[1].cpu
    return {
        chance: {
            count - 1: speed_up(
                Known(count - 1, decode, draft.cpu, cost.cpu, (chance,)), count - 1, cost.cpu
            )
            for count, cost in verifies.items()
            if count > 1
        }
        for chance in CHANCES
    }


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
    help="How weights are stored.",
)
@click.option("--cache-length", default=4096, show_default=True, help="Slots of the caches.")
@click.option("--tokens", default="1,2,3,4,5,6,7,8", show_default=True, help="Lengths; 1 first.")
@click.option("--calls", default=20, show_default=True, help="Timed calls of each length.")
def main(pair: Path, kept: Path, recipe: str, cache_length: int, tokens: str, calls: int) -> None:
    """Measure PAIR, a folder made by make_planted_pair.py."""
    chosen = RECIPES[recipe]
    lengths = [int(count) for count in tokens.split(",")]
    verifies, draft = measure(PlantedPair(pair), chosen, cache_length, lengths, calls, kept)
    decode = verifies[1]
    click.echo(f"{recipe}, cache of {cache_length}, CPU time, 1 thread, {calls} calls, {load()}")
    click.echo(f"{DECODE} {decode.cpu * 1e3:.1f} ms, draft step {draft.cpu / decode.cpu:.3f} of it")
    for count, cost in verifies.items():
        spread = f"{cost.low / decode.cpu:.2f} to {cost.high / decode.cpu:.2f}"
        click.echo(f"verify of {count}: {cost.cpu / decode.cpu:.2f} decodes ({spread})")
    for chance, ratios in best_lengths(verifies, draft).items():
        best = max(ratios, key=lambda drafts: ratios[drafts])
        shown = ", ".join(f"{drafts}: {ratio:.2f}" for drafts, ratio in ratios.items())
        click.echo(f"accepted {chance:.1f}: best {best} drafts ({shown})")


if __name__ == "__main__":
    main()
