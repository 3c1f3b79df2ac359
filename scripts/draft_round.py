"""What a draft of G tokens costs in one call, beside G draft steps and beside G bare runs of their graph.

    python scripts/draft_round.py OUT.litertlm

Three ways take turns: *steps* look the token up, run the drafter and take the likeliest token, G times;
*bare* runs the drafter's graph G times and nothing else, so it is what steps cost without their round trips
(and without lookup and choice, which the one call does); *one call* is the `draft` signature. The tokens of
steps and of the one call are compared at some positions, too.
"""

from __future__ import annotations

from pathlib import Path

import click
from speed.clocks import alternate, load
from speed.drafting import Place, one_by_one, places

from exporter.contract.names import DRAFT
from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import open_model

TEXT = "say t494 and then say what follows from it"


def bare(executor: LitertExecutor, place: Place) -> None:
    """The graph of a draft step, G times."""
    for _ in range(executor.draft_length):
        executor.signatures[DRAFT].run(place.cache)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--calls",
    type=click.IntRange(min=2),
    default=100,
    show_default=True,
    help="Timed calls of each way.",
)
@click.option(
    "--positions",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Positions at which tokens are compared.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads."
)
def main(bundle: Path, calls: int, positions: int, threads: int) -> None:
    """Compare the ways to draft with BUNDLE, at the last of some positions."""
    with open_model(bundle, Hardware(threads=threads)) as model:
        executor = model.executor
        if not executor.drafts_at_once:
            raise click.ClickException(f"{bundle}: this bundle cannot draft in one call")
        equal, found = 0, places(executor, model.tokenizer.encode_prompt(TEXT), positions)
        for place in found:
            equal += one_by_one(executor, place) == executor.draft_round(place)
        ways = {
            "steps": lambda: one_by_one(executor, place),
            "bare": lambda: bare(executor, place),
            "one call": lambda: executor.draft_round(place),
        }
        costs, drafts = alternate(ways, calls), executor.draft_length
    click.echo(f"{threads} threads, {load()}; CPU time, medians of {calls} calls")
    for name, cost in costs.items():
        click.echo(f"{drafts} drafts, {name:9} {cost.cpu * 1e3:8.2f} ms")
    for name in ("steps", "bare"):
        click.echo(f"one call / {name}: {costs['one call'].cpu / costs[name].cpu:.2f}")
    click.echo(f"equal tokens: {equal} of {positions}")


if __name__ == "__main__":
    main()
