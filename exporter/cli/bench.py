"""``mtp-export bench``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from exporter.cli.option_types import THREADS
from exporter.cli.report_option import report_option, write_report
from exporter.cli.runtimes import check_accelerator
from exporter.cli.strict_command import StrictCommand
from exporter.cli.text_file import write_text
from exporter.contract.names import Accelerator

DEFAULT_NEW_TOKENS = 64
DEFAULT_ROUNDS = 3


@click.command(cls=StrictCommand)
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
    type=THREADS,
    help="CPU threads of both runtimes.  [default: the cores there are]",
)
@click.option(
    "--accelerator",
    type=click.Choice([accelerator.value for accelerator in Accelerator]),
    help="Where target and drafter run.  [default: what the bundle was made for]",
)
@click.option("--json", "as_json", is_flag=True, help="Every figure, machine-readable.")
@report_option(".html", ".json")
@report_option(
    ".svg", name="--plot", text="Also draw the speed-up over draft lengths to this {} file."
)
def command(
    bundle: Path,
    prompt_file: Path | None,
    max_new_tokens: int,
    rounds: int,
    threads: int | None,
    accelerator: str | None,
    as_json: bool,
    report: Path | None,
    plot: Path | None,
) -> None:
    """Measure BUNDLE on text: calls, tokens/s, memory, acceptance, speed-up.

    The stock engine and the reference runtime take turns, MTP off and on, greedily.
    """
    from exporter.extras import require_runtime

    require_runtime()
    from exporter.bundle.inspection import inspect_bundle, require_contract
    from exporter.cli.bench_page import render_html
    from exporter.cli.bench_plot import speed_up_plot
    from exporter.cli.bench_text import render
    from exporter.report.pages import picture
    from exporter.verify.texts import read_prompts
    from runtime_py.bench.run import BenchPlan, default_threads, measure

    prompts = read_prompts(prompt_file)
    agreed = require_contract(inspect_bundle(bundle))
    where = Accelerator(accelerator) if accelerator else agreed.accelerator
    check_accelerator(bundle, agreed.accelerator, where)
    threads = threads or default_threads()
    plan = BenchPlan(bundle, prompts, max_new_tokens, rounds, threads, where)
    found = measure(plan, agreed, lambda text: click.echo(text, err=True))
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else render(found))
    if report is not None:
        write_report(found, report, {".html": render_html})
    if plot is not None:
        write_text(plot, picture(speed_up_plot(found)), "plot")
