"""``mtp-export tune``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.option_types import LARGEST, SEED, FiniteRange
from exporter.cli.recipe_option import RECIPE
from exporter.cli.report_option import report_option, write_report
from exporter.cli.strict_command import StrictCommand
from exporter.cli.terminal import note
from quantize.evidence import RECOMMENDED
from quantize.recipe import Recipe

if TYPE_CHECKING:
    from exporter.tune.outcome import Compared, TuningOutcome

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=StrictCommand)
@click.argument("target")
@click.argument("drafter", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of the tuned drafter; give it to `export` as DRAFTER.",
)
@click.option("--prompts", type=FILE, help="Prompts like those of your users, one a line.")
@click.option(
    "--conversations",
    type=FILE,
    metavar="FILE.jsonl",
    help="Conversations like those of your users, one a line, in the forms of chat files (docs/chat.md), "
    "instead of --prompts. An answer at the end of one is left out: the target gives its own.",
)
@click.option(
    "--keep",
    type=FILE,
    metavar="FILE",
    help="General prompts, one a line, to see what was forgotten; they are not trained on.",
)
@click.option(
    "--lora",
    metavar="ADAPTER",
    help="LoRA adapter that TARGET will be deployed with, if TARGET is not one itself.",
)
@click.option("--drafter-lora", metavar="ADAPTER", help="LoRA adapter to merge into DRAFTER first.")
@click.option(
    "--recipe",
    type=RECIPE,
    help=f"How the weights will be stored.  [default: as in the bundle, or {RECOMMENDED}]",
)
@click.option(
    "--bundle",
    type=FILE,
    metavar="FILE.litertlm",
    help="A bundle of TARGET, which answers the prompts.  [default: one is exported into the work folder]",
)
@click.option(
    "--draft-length",
    type=click.IntRange(1, 15),
    default=3,
    show_default=True,
    help="Tokens that will be drafted per round.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(8, LARGEST),
    default=512,
    show_default=True,
    help="Where answers are cut.",
)
@click.option(
    "--epochs",
    type=click.IntRange(0, 1000),
    help="How often the answers are gone through, at most; training ends earlier when prompts that are not "
    "trained on gain no more.  [default: 2 to 20, fewer for more data]",
)
@click.option(
    "--rate",
    type=FiniteRange(0, 1, min_open=True),
    help="Peak learning rate.  [default: 2e-4 for a drafter 256 wide, as those of E2B and E4B]",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where torch computes; answers are generated on the CPU.",
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Seed of the order in which answers are trained on.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for answers, features and checkpoints.  [default: beside the output, removed in the end]",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted tuning.")
@click.option("--revision", help="Branch, tag or commit of TARGET on the hub.")
@click.option("--drafter-revision", help="Branch, tag or commit of DRAFTER on the hub.")
@click.option(
    "--force",
    is_flag=True,
    help="Write a drafter that gained nothing, too, and replace the output.",
)
@report_option(".html", ".json")
@click.option("--json", "as_json", is_flag=True, help="Every figure, machine-readable.")
def command(
    target: str,
    drafter: str | None,
    output: Path,
    prompts: Path | None,
    conversations: Path | None,
    keep: Path | None,
    lora: str | None,
    drafter_lora: str | None,
    recipe: Recipe | None,
    bundle: Path | None,
    draft_length: int,
    max_tokens: int,
    epochs: int | None,
    rate: float | None,
    device: str,
    seed: int,
    work: Path | None,
    resume: bool,
    revision: str | None,
    drafter_revision: str | None,
    force: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Train DRAFTER to foresee what TARGET answers to your prompts.

    For fine-tuned targets, whose answers Google's drafter does not know. TARGET and DRAFTER are named as for
    `export`, and DRAFTER is looked for if it is not. TARGET is taken as it will be deployed: with its
    adapter, and weights as the recipe stores them.
    """
    from exporter.errors import OptionsError
    from exporter.extras import require_tuning
    from exporter.tune.options import NoGainError, TuningOptions

    options = TuningOptions(
        prompts=prompts,
        conversations=conversations,
        keep=keep,
        recipe=recipe,
        bundle=bundle,
        draft_length=draft_length,
        max_tokens=max_tokens,
        epochs=epochs,
        rate=rate,
        device=device,
        seed=seed,
        force=force,
    )
    try:
        options.check()
    except OptionsError as error:
        raise click.UsageError(str(error)) from error
    require_tuning()
    from exporter.checkpoints.checkpoint import TUNING, resolve
    from exporter.checkpoints.drafter_search import drafter_of
    from exporter.checkpoints.hub import download, download_config
    from exporter.checkpoints.named_target import locate_target
    from exporter.cli.progress import TerminalReporter
    from exporter.files.output import check_folder_destination
    from exporter.tune.report_html import render_html
    from exporter.tune.tuning import tune

    check_folder_destination(output, TUNING, force=force)  # before anything is downloaded
    if drafter is None:
        drafter = drafter_of(locate_target(target, revision, download_config, lora), tuned=False)
        note(f"drafter: {drafter} (inferred; name another behind TARGET)")
    chosen = work or output.absolute().parent / f"{output.name}.tuning"
    checkpoints = (
        resolve(target, revision, download, lora),
        resolve(drafter, drafter_revision, download, drafter_lora),
    )
    try:
        found = tune(*checkpoints, output, chosen, options, TerminalReporter(), resume=resume)
    except KeyboardInterrupt:
        click.echo(f"stopped; --resume goes on with what is in {chosen}", err=True)
        raise
    if report:
        write_report(found, report, {".html": render_html})
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else render(found))
    if not found.written:
        raise NoGainError(
            f"{output} was not written: the gain is not above two standard errors; more prompts may tell "
            f"more, and --resume --force writes the drafter all the same (its work is in {chosen})"
        )
    if work is None:
        shutil.rmtree(chosen, ignore_errors=True)


def render(found: TuningOutcome) -> str:
    """What was found, for people."""
    from exporter.report.tables import Table
    from exporter.tune.report_text import gain, headline, speed

    texts = [("held-out prompts", found.held_out)]
    if found.general is not None:
        texts.append(("general prompts", found.general))
    rows = [row for name, compared in texts for row in _rows(name, compared)]
    positions = tuple(f"draft {place}" for place in range(1, found.draft_length + 1))
    table = Table(
        ("", "drafts accepted", *positions, "tokens a round", "lost to the head"), tuple(rows)
    )
    data, effort = found.data, found.effort
    dropped = (
        f"{data.duplicates} repeated, {data.too_long} too long, {data.looping} with looping answers, "
        f"{data.too_short} with answers of a token or two"
    )
    lines = [
        headline(found),
        *table.aligned(),
        *(f"{name}: {gain(compared)}" for name, compared in texts),
        *([speed(found.speeds)] if found.speeds is not None else []),
        f"{data.given} prompts ({dropped}): {data.training_prompts} trained on, {data.watched_prompts} "
        f"watched, {data.held_out_prompts} held out; {data.training_tokens:,} tokens of answers trained on",
        f"of the held-out answers {data.repeated_share:.1%} repeats what they said before",
        f"{effort.steps} of {effort.planned_steps} steps ({effort.epochs:.1f} epochs) on {effort.device}: "
        f"{effort.answer_seconds:.0f} s for answers, {effort.feature_seconds:.0f} s for reading them, "
        f"{effort.training_seconds:.0f} s of training; {effort.feature_bytes / 1e6:.0f} MB of features, "
        f"{effort.peak_memory_bytes / 1e6:.0f} MB of memory",
    ]
    return "\n".join(lines)


def _rows(name: str, compared: Compared) -> list[tuple[str, ...]]:
    return [
        (
            f"{name}, {when}",
            f"{drafting.acceptance:.1%}",
            *(f"{share:.1%}" for share in drafting.by_position),
            f"{drafting.tokens_per_round:.2f}",
            f"{drafting.lost_to_head:.1%}",
        )
        for when, drafting in (("before", compared.before), ("after", compared.after))
    ]
