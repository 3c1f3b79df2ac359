"""``mtp-export quantize-search``."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.measuring import measuring_options, passage_plan, work_folder
from exporter.cli.option_types import SHARE, FiniteRange
from exporter.cli.size import parse_size
from exporter.cli.strict_command import StrictCommand
from exporter.cli.text_file import write_text

if TYPE_CHECKING:
    from exporter.compare.groups import Way
    from exporter.compare.search import Found

STORED = ("int8", "int4-block32-clip", "int4-clip", "int2-clip")


def parse_storage(text: str) -> Way:
    """``int4-block32-clip`` and the like."""
    from exporter.compare.groups import parse_way

    try:
        return parse_way(text)
    except ValueError as error:
        raise click.BadParameter(
            f"expected <storage> or <storage>-<algorithm>, found {text!r} ({error})"
        ) from error


@click.command(cls=StrictCommand)
@click.argument("target")
@click.argument("drafter")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The recipe file to write.",
)
@click.option(
    "--max-size", type=parse_size, metavar="SIZE", help="Largest size of the bundle, such as 2.4GB."
)
@click.option(
    "--max-kl",
    type=FiniteRange(min=0),
    help="Largest KL divergence from float32, nats a token.",
)
@click.option(
    "--max-lost-acceptance",
    type=SHARE,
    help="Share of all drafts that float32 has accepted and the recipe has not, such as 0.02.",
)
@click.option(
    "--store",
    "ways",
    type=parse_storage,
    metavar="STORAGE",
    multiple=True,
    default=STORED,
    show_default=True,
    help="A way to store tensors, <storage> or <storage>-<algorithm>; may be repeated. The search starts "
    "with the first.",
)
@click.option(
    "--groups",
    type=click.Choice(["kind", "tensor"]),
    default="kind",
    show_default=True,
    help="What is stored alike: all tensors of a kind in all layers, or each tensor by itself.",
)
@click.option(
    "--only",
    default="*",
    metavar="PATTERN",
    help="Search only tensors whose names match, such as `drafter.*`; the others are stored as at the start.",
)
@measuring_options
@click.option("--force", is_flag=True, help="Replace the recipe file if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Every figure, machine-readable.")
def command(
    target: str,
    drafter: str,
    output: Path,
    max_size: int | None,
    max_kl: float | None,
    max_lost_acceptance: float | None,
    ways: tuple[Way, ...],
    groups: str,
    only: str,
    text_file: Path,
    calibration: Path | None,
    passages: int,
    passage_length: int,
    prompt_tokens: int,
    new_tokens: int,
    threads: int,
    force: bool,
    as_json: bool,
) -> None:
    """Find the recipe that a budget allows for TARGET and DRAFTER, and write it to a file.

    With --max-size: the least damage in so many bytes. With --max-kl and --max-lost-acceptance: the
    fewest bytes with no more damage. Each group of tensors is measured by itself in the real graphs.
    """
    if max_size is None and max_kl is None and max_lost_acceptance is None:
        raise click.UsageError("give a budget: --max-size, or --max-kl and --max-lost-acceptance")
    if max_size is not None and (max_kl is not None or max_lost_acceptance is not None):
        raise click.UsageError("give --max-size, or losses, but not both")
    if len(ways) < 2:
        raise click.UsageError("give --store twice at least: where to start, and what to try")
    from exporter.extras import require_runtime

    require_runtime()
    from exporter.checkpoints.checkpoint import resolve
    from exporter.checkpoints.hub import download
    from exporter.cli.progress import TerminalReporter
    from exporter.compare.comparison import Sources
    from exporter.compare.groups import group_tensors
    from exporter.compare.passages import read_text_file
    from exporter.compare.search import RecipeLimits, search
    from exporter.compare.trials import REFERENCE, open_trials
    from exporter.files.output import check_destination
    from exporter.options import ExportOptions
    from quantize.recipe_file import as_recipe_name, write_recipe

    check_destination(output, force=force)
    plan = passage_plan(passages, passage_length, prompt_tokens, new_tokens)
    text = read_text_file(text_file)
    checkpoints = (resolve(target, None, download), resolve(drafter, None, download))
    sources = Sources(*checkpoints, ExportOptions(REFERENCE, calibration=calibration))
    start, *others = ways
    name = as_recipe_name(output.stem)
    with work_folder(None) as folder, sources.weights() as weights:
        every = group_tensors(weights, each=groups == "tensor")
        tried = [group for group in every if fnmatchcase(group.pattern, only)]
        if not tried:
            raise click.UsageError(f"--only {only}: no tensor of this pair matches")
        reporter = TerminalReporter()
        with reporter.stage("Reading the text with float32", None):
            trials = open_trials(sources, every, start, name, text, plan, threads, folder)
        limits = RecipeLimits(max_size, max_kl, max_lost_acceptance)
        found = search(trials, tried, others, limits, reporter)
    write_text(output, write_recipe(found.recipe), "recipe")
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else render(found))


def render(found: Found) -> str:
    """What was measured of each group, what was chosen, and what it costs as a whole."""
    from exporter.report.tables import Table

    groups = Table(
        ("group", "stored as", "", "bytes", "KL, mnat", "acceptance, points"),
        tuple(
            (
                group.pattern,
                option.storage,
                "<" if found.chosen[group.pattern] == option else "",
                f"{option.nbytes:+,}",
                f"{option.divergence * 1e3:+.2f}",
                f"{-option.lost * 100:+.2f}",
            )
            for group in found.groups
            for option in group.options
        ),
    )
    wholes = Table(
        ("as a whole", "bytes", "KL, mnat", "accepted", "top-1", "perplexity by float32's"),
        tuple(
            (
                name,
                f"{whole.file_bytes:,}",
                f"{whole.divergence * 1e3:.2f}",
                f"{whole.accepted:.2%}",
                f"{whole.agreement:.2%}",
                f"{whole.perplexity_ratio:.4f}",
            )
            for name, whole in (
                ("float32", found.reference),
                ("start", found.start),
                ("found", found.measured),
            )
        ),
    )
    expected = (
        f"had effects added up: KL {found.expected_divergence * 1e3:.2f} mnat, "
        f"{found.expected_accepted:.2%} accepted"
    )
    return "\n".join([*groups.aligned(), "", *wholes.aligned(), expected])
