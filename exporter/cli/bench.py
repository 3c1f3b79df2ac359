"""``mtp-export bench``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from exporter.cli.runtimes import check_accelerator
from exporter.contract import Accelerator
from exporter.errors import BundleError, OutputError

DEFAULT_NEW_TOKENS = 64
DEFAULT_ROUNDS = 3


def parse_plot(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """A file for an SVG picture."""
    if value is not None and value.suffix != ".svg":
        raise click.BadParameter(f"expected a file ending in .svg, found {value}")
    return value


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--prompts",
    "prompt_file",
    type=click.Path(path_type=Path),
    help="Prompts, one a line.  [default: a few built-in sentences]",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=4),
    default=DEFAULT_NEW_TOKENS,
    show_default=True,
    help="Length of each answer.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=DEFAULT_ROUNDS,
    show_default=True,
    help="How often each runtime answers all prompts, MTP off and on.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads of both runtimes.  [default: the cores there are]",
)
@click.option(
    "--accelerator",
    type=click.Choice([accelerator.value for accelerator in Accelerator]),
    help="Where target and drafter run.  [default: what the bundle was made for]",
)
@click.option("--json", "as_json", is_flag=True, help="Every figure, machine-readable.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    callback=parse_plot,
    help="Also draw the speed-up over draft lengths to this .svg file.",
)
def command(
    bundle: Path,
    prompt_file: Path | None,
    max_new_tokens: int,
    rounds: int,
    threads: int | None,
    accelerator: str | None,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Measure BUNDLE on text: calls, tokens/s, memory, acceptance, speed-up.

    The stock engine and the reference runtime take turns, MTP off and on, greedily.
    """
    from runtime_py.needs import require_runtime

    require_runtime()
    from exporter.bundles.inspection import inspect_bundle
    from exporter.cli.bench_plot import speed_up_plot
    from exporter.cli.bench_text import render
    from exporter.parity.texts import read_prompts
    from runtime_py.bench.run import Plan, default_threads, measure

    prompts = read_prompts(prompt_file)
    agreed = inspect_bundle(bundle).contract
    if agreed is None:
        raise BundleError(f"{bundle}: expected a bundle made by mtp-export, found no manifest")
    where = Accelerator(accelerator) if accelerator else agreed.accelerator
    check_accelerator(bundle, agreed.accelerator, where)
    threads = threads or default_threads()
    plan = Plan(bundle, prompts, max_new_tokens, rounds, threads, where)
    found = measure(plan, agreed, lambda text: click.echo(text, err=True))
    if plot is not None:
        write_plot(speed_up_plot(found), plot)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else render(found))


def write_plot(picture: str, path: Path) -> None:
    """Write the picture.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: the plot cannot be written: {error.strerror}") from error
