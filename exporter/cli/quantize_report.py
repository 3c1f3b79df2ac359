"""``mtp-export quantize-report``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.measuring import measuring_options, passage_plan, work_folder
from exporter.cli.recipe_option import RECIPE
from exporter.cli.report_option import report_option, write_report
from exporter.cli.strict_command import StrictCommand
from quantize.builtin_recipes import FLOAT32, PLANS, RECIPES, built_in
from quantize.recipe import Algorithm, Recipe

if TYPE_CHECKING:
    from exporter.compare.comparison import ComparisonRequest
    from exporter.compare.passages import PassagePlan

BUNDLE = ".litertlm"


@click.command(cls=StrictCommand)
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--recipe",
    "recipes",
    type=RECIPE,
    multiple=True,
    help="A recipe to compare with float32; may be repeated.  [default: all built-in ones; gptq ones only "
    "with --calibration]",
)
@measuring_options
@click.option(
    "--questions",
    "question_file",
    type=click.Path(path_type=Path),
    metavar="FILE.jsonl",
    help="Questions about pictures and sounds: on each line a conversation as in a chat file, with the right "
    "answer as the assistant's last message, if it is known.  [default: a few about drawn ones]",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the bundles made here in this folder; those of an earlier run are replaced.",
)
@report_option(".json", ".html", ".md", ".svg")
@click.option("--json", "as_json", is_flag=True, help="Every figure, machine-readable.")
def command(
    sources: tuple[str, ...],
    recipes: tuple[Recipe, ...],
    text_file: Path,
    calibration: Path | None,
    passages: int,
    passage_length: int,
    prompt_tokens: int,
    new_tokens: int,
    threads: int,
    question_file: Path | None,
    keep: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Compare recipes on a text.

    SOURCES are TARGET and DRAFTER (folders or hub ids), from which a bundle of each recipe is made
    and measured; or ready bundles, of which the first is what the others are compared with.
    """
    from exporter.extras import require_runtime

    require_runtime()
    from exporter.cli.progress import TerminalReporter
    from exporter.compare.comparison import compare
    from exporter.compare.questions import read_questions
    from exporter.compare.report_html import render_html
    from exporter.compare.report_text import render_markdown, render_text
    from exporter.compare.size_plot import render_svg

    plan = passage_plan(passages, passage_length, prompt_tokens, new_tokens)
    request = parse_request(sources, recipes, text_file, calibration, plan, threads)
    if question_file is not None:
        request = replace(request, questions=read_questions(question_file))
    with work_folder(keep) as folder:
        found = compare(request, folder, TerminalReporter())
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else render_text(found))
    if report is not None:
        renderings = {".html": render_html, ".md": render_markdown, ".svg": render_svg}
        write_report(found, report, renderings)


def parse_request(
    sources: tuple[str, ...],
    recipes: tuple[Recipe, ...],
    text_file: Path,
    calibration: Path | None,
    plan: PassagePlan,
    threads: int,
) -> ComparisonRequest:
    """What to compare.

    Raises:
        click.UsageError: The sources are neither bundles nor a target and its drafter, or two recipes
            have one name.
        MtpExportError: One of them, or the text, cannot be read.
    """
    from exporter.checkpoints.checkpoint import resolve
    from exporter.checkpoints.hub import download
    from exporter.compare.comparison import ComparisonRequest, Sources, subjects_of
    from exporter.compare.passages import read_text_file
    from exporter.options import ExportOptions

    text = read_text_file(text_file)
    bundles = [Path(source) for source in sources if source.endswith(BUNDLE)]
    if bundles:
        if len(bundles) < len(sources) or recipes:
            raise click.UsageError("give bundles only, or a TARGET and its DRAFTER")
        return ComparisonRequest(
            None, (), subjects_of(bundles), text, text_file.name, plan, threads
        )
    if len(sources) > 2:
        raise click.UsageError(f"expected a TARGET and its DRAFTER, found {len(sources)} sources")
    target, drafter = (*sources, None)[:2]
    assert target is not None
    others = recipes or default_recipes(calibrated=calibration is not None)
    compared = (FLOAT32, *(recipe for recipe in others if recipe != FLOAT32))
    _check_names(compared)
    checkpoints = Sources(
        resolve(target, None, download),
        resolve(drafter, None, download) if drafter else None,
        ExportOptions(FLOAT32, calibration=calibration),
    )
    return ComparisonRequest(checkpoints, compared, (), text, text_file.name, plan, threads)


def _check_names(recipes: tuple[Recipe, ...]) -> None:
    """Bundles and lines of the report are called after recipes."""
    names = [recipe.name for recipe in recipes]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise click.UsageError(
            f"expected recipes with different names, found {', '.join(repeated)} more than once"
        )


def default_recipes(*, calibrated: bool) -> tuple[Recipe, ...]:
    """All built-in recipes, those that need a calibration text if there is one."""
    suffix = f"-{Algorithm.GPTQ.value}"
    gptq = (built_in(f"{plan}{suffix}") for plan in PLANS) if calibrated else ()
    return (*RECIPES.values(), *(recipe for recipe in gptq if recipe is not None))
