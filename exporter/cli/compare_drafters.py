"""``mtp-export compare-drafters``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.option_types import THREADS
from exporter.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from runtime_py.bench.drafters import DrafterRun, Drafters
    from runtime_py.bench.verdict import MtpVerdict
    from runtime_py.litert.hardware import Hardware

DEFAULT_NEW_TOKENS = 64
PROMPT_WIDTH = 60  # characters


@click.command(cls=StrictCommand)
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--prompts",
    "prompt_file",
    type=click.Path(path_type=Path),
    required=True,
    help="Prompts as your users write them, one a line; six at least, better twenty.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=8),
    default=DEFAULT_NEW_TOKENS,
    show_default=True,
    help="Length of each answer.",
)
@click.option("--threads", type=THREADS, help="CPU threads.  [default: the cores]")
@click.option("--json", "as_json", is_flag=True, help="Every figure, machine-readable.")
def command(
    bundles: tuple[Path, ...],
    prompt_file: Path,
    max_new_tokens: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Compare the drafters of BUNDLES, which have one target, on prompts of your own.

    Each is compared with the first, prompt by prompt, in the reference runtime. Exit code 3 if their
    targets give different texts.
    """
    if len(bundles) < 2:
        raise click.UsageError("give two bundles or more; `mtp-export bench` measures one")
    from exporter.extras import require_runtime

    require_runtime()
    from exporter.bundle.inspection import inspect_bundle, require_contract
    from exporter.verify.texts import read_prompts
    from runtime_py.bench.drafters import compare_drafters, require_comparable
    from runtime_py.bench.drafters_text import as_json as plain
    from runtime_py.bench.run import default_threads
    from runtime_py.litert.hardware import Hardware

    prompts = read_prompts(prompt_file)
    contracts = {path: require_contract(inspect_bundle(path)) for path in bundles}
    require_comparable(contracts)
    threads = threads or default_threads()
    hardware = {path: Hardware(agreed.accelerator, threads) for path, agreed in contracts.items()}
    run = partial(_run, hardware, prompts, max_new_tokens)
    found = compare_drafters(bundles, run, prompts)
    click.echo(json.dumps(plain(found), indent=2) if as_json else render(found))


def _run(
    hardware: dict[Path, Hardware], prompts: tuple[str, ...], max_new_tokens: int, path: Path
) -> DrafterRun:
    from runtime_py.bench.drafters import run_drafter

    click.echo(f"answering {len(prompts)} prompts with {path} ...", err=True)
    return run_drafter(path, hardware[path], prompts, max_new_tokens)


def render(found: Drafters) -> str:
    """Drafters, then prompts, then what follows."""
    from exporter.report.tables import Table
    from runtime_py.bench.drafters_text import told

    header = (
        "",
        "accepted",
        "by position",
        "tokens a round",
        "round, decodes",
        "speed-up",
        "bundle",
    )
    rows = [
        (str(number), *_figures(drafter.verdict), drafter.bundle)
        for number, drafter in enumerate(found.drafters, start=1)
    ]
    by_prompt = [
        (*(_figure(tokens) for tokens in row), prompt[:PROMPT_WIDTH])
        for *row, prompt in zip(*(d.tokens for d in found.drafters), found.prompts, strict=True)
    ]
    numbers = tuple(str(number) for number in range(1, len(found.drafters) + 1))
    notes = [
        f"note: left out, as equal targets answer it differently (a near-tie): {prompt[:PROMPT_WIDTH]}"
        for prompt in found.left_out
    ]
    return "\n".join(
        [
            *Table(header, tuple(rows)).aligned(),
            "",
            "tokens a round, by prompt, last rounds that the limit cuts short included",
            *Table((*numbers, "prompt"), tuple(by_prompt), words=0).aligned(),
            *notes,
            "",
            f"verdict: {told(found)}",
        ]
    )


def _figures(verdict: MtpVerdict) -> tuple[str, ...]:
    """Of one drafter; dashes where nothing was drafted."""
    drafts, speed = verdict.drafts, verdict.speed
    if drafts is None:
        return ("-",) * 5
    return (
        f"{drafts.accepted:.0%}",
        " ".join(f"{share:.0%}" for share in drafts.positions),
        f"{drafts.tokens.value:.2f}",
        _figure(verdict.round_cost),
        _figure(speed.value if speed else None),
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
