"""``mtp-export export``."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.contract import Accelerator
from exporter.heads import HeadKind
from quantize.recipe import RECIPES


def parse_lengths(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """``128,1024`` as numbers."""
    if value is None:
        return None
    try:
        lengths = tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"expected numbers separated by commas, found {value!r}"
        ) from error
    if not all(1 <= length <= 8192 for length in lengths):
        raise click.BadParameter(f"expected lengths from 1 to 8192, found {value!r}")
    return lengths


@click.command()
@click.argument("target")
@click.argument("drafter", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The bundle to write."
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="int8",
    show_default=True,
    help="How weights are stored; see `mtp-export recipes`.",
)
@click.option("--no-drafter", is_flag=True, help="Make a bundle without speculative decoding.")
@click.option(
    "--cache-length",
    type=click.IntRange(min=8),
    help="Tokens a conversation can hold.  [default: 4096, or what the model was trained for if less]",
)
@click.option(
    "--prefill-lengths",
    callback=parse_lengths,
    metavar="N[,N...]",
    help="Prompt tokens processed at once; the engine picks among them.  [default: 128,1024]",
)
@click.option(
    "--draft-length",
    type=click.IntRange(1, 15),
    default=3,
    show_default=True,
    help="Tokens drafted per round.",
)
@click.option(
    "--drafter-head",
    type=click.Choice([kind.value for kind in HeadKind]),
    help="How the drafter scores the vocabulary.  [default: as the checkpoint was trained]",
)
@click.option(
    "--accelerator",
    type=click.Choice([accelerator.value for accelerator in Accelerator]),
    default=Accelerator.CPU.value,
    show_default=True,
    help="What the graphs are written for; see docs/gpu.md.",
)
@click.option("--revision", help="Branch, tag or commit of TARGET on the hub.")
@click.option("--drafter-revision", help="Branch, tag or commit of DRAFTER on the hub.")
@click.option("--fresh-graphs", is_flag=True, help="Lower the graphs again even if they are known.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
def command(
    target: str,
    drafter: str | None,
    output: Path,
    recipe: str,
    no_drafter: bool,
    cache_length: int | None,
    prefill_lengths: tuple[int, ...] | None,
    draft_length: int,
    drafter_head: str | None,
    accelerator: str,
    revision: str | None,
    drafter_revision: str | None,
    fresh_graphs: bool,
    force: bool,
) -> None:
    """Make a .litertlm bundle from the checkpoint TARGET and its drafter (-assistant) DRAFTER.

    Both are folders or Hugging Face hub ids.
    """
    if (drafter is None) != no_drafter:
        raise click.UsageError("give a DRAFTER, or --no-drafter for a bundle without one")
    if no_drafter and (drafter_head or drafter_revision):
        raise click.UsageError("--drafter-head and --drafter-revision need a DRAFTER")
    from exporter.checkpoint import resolve
    from exporter.cli.progress import TerminalReporter
    from exporter.hub import download
    from exporter.output import check_destination
    from exporter.pipeline import ExportOptions, export

    check_destination(output, force=force)
    options = ExportOptions(
        recipe=RECIPES[recipe],
        cache_length=cache_length,
        prefill_lengths=prefill_lengths,
        draft_length=draft_length,
        drafter_head=HeadKind(drafter_head) if drafter_head else None,
        accelerator=Accelerator(accelerator),
        force=force,
        fresh_graphs=fresh_graphs,
    )
    target_checkpoint = resolve(target, revision, download)
    drafter_checkpoint = resolve(drafter, drafter_revision, download) if drafter else None
    exported = export(target_checkpoint, drafter_checkpoint, output, options, TerminalReporter())
    for role, kinds in exported.ignored.items():
        if kinds:
            names = ", ".join(f"{name} ({count})" for name, count in sorted(kinds.items()))
            click.echo(f"ignored in the {role}: {names}", err=True)
    click.echo(f"{output}: {exported.nbytes:,} bytes")
