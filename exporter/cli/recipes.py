"""``mtp-export recipes``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from exporter.cli.recipe_option import RECIPE
from exporter.cli.size import parse_size, shown_size
from exporter.cli.strict_command import StrictCommand
from exporter.cli.terminal import note
from exporter.contract.names import Section
from exporter.options import ExportOptions
from quantize.builtin_recipes import ALGORITHMS, FLOAT32, PLAIN_NAMES, RECIPES, built_in
from quantize.evidence import COSTS, POOR, RECOMMENDED, WITH_A_TEXT
from quantize.recipe import Recipe

if TYPE_CHECKING:
    from exporter.plan.recipe_sizes import Sized

ABOUT_ALGORITHMS = """\
A name other than float32 may have an algorithm behind it: -minmax, -clip (scales by least squared error)
or -gptq (codes chosen with `export --calibration FILE.txt`). A file with rules of your own may be given
instead of a name: see docs/recipes.md. Towers for pictures and sound are int8 unless a rule for vision.* or
audio.* says otherwise.

export takes mixed-clip unless told otherwise: little over half of int8's bytes for 0.7 % of perplexity,
where it was measured, and kernels with which MTP pays. int8 loses nothing that was measured.
`mtp-export recipes TARGET` has sizes of a model and recommends a recipe; `mtp-export quantize-report`
compares them on a text of yours."""

ABOUT_SIZES = """\
Sizes are of weights and their scales. Matrices whose codes were chosen in training (QAT) keep these, whatever
the recipe, unless `export --requantize` says otherwise. Losses were measured on a small model
(docs/quantisation.md; -: not measured): expect their order, not the figures."""


@click.command(cls=StrictCommand)
@click.argument("target", required=False)
@click.argument("drafter", required=False)
@click.option(
    "--fits",
    type=parse_size,
    metavar="SIZE",
    help="Recommend the best recipe for a bundle that takes no more than this, such as 3GB.",
)
@click.option("--no-drafter", is_flag=True, help="Size bundles without speculative decoding.")
@click.option("--no-vision", is_flag=True, help="Size bundles without the tower for pictures.")
@click.option("--no-audio", is_flag=True, help="Size bundles without the tower for sound.")
@click.option(
    "--recipe",
    "own",
    type=RECIPE,
    multiple=True,
    help="Also size this one: a name, or a file of rules; may be repeated.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Machine-readable: objects with `name`, `summary` and `rules`; of a TARGET also `sizes`, `cost`, "
    "`recommended`.",
)
def command(
    target: str | None,
    drafter: str | None,
    fits: int | None,
    no_drafter: bool,
    no_vision: bool,
    no_audio: bool,
    own: tuple[Recipe, ...],
    as_json: bool,
) -> None:
    """List the recipes: how each stores the weights.

    Given TARGET and, if it is not found by itself, its DRAFTER (as `export` takes them), also tell how large
    each makes a bundle of that model, what it loses, and which one to take. Nothing but configs and model
    cards are read.
    """
    if target is None:
        if fits is not None or own or no_drafter or no_vision or no_audio:
            raise click.UsageError("give a TARGET: without one there are no sizes")
        every = [_described(recipe) for recipe in RECIPES.values()]
        click.echo(json.dumps(every, indent=2) if as_json else _listed())
        return
    for recipe in own:
        if (known := built_in(recipe.name)) is not None and known.rules != recipe.rules:
            raise click.UsageError(f"{recipe.name} is a built-in recipe: give yours another name")
    if drafter is not None and no_drafter:
        raise click.UsageError("give a DRAFTER, or --no-drafter for sizes without one")
    from exporter.checkpoints.drafter_search import find_drafter
    from exporter.plan import recipe_sizes as sizes

    if drafter is None and not no_drafter:
        drafter = find_drafter(target)
        note(f"drafter: {drafter} (inferred; name another behind TARGET, or give --no-drafter)")
    options = ExportOptions(FLOAT32, vision=not no_vision, audio=not no_audio)
    config, drafts = sizes.read_config(target), sizes.read_config(drafter) if drafter else None
    recipes = [*filter(None, map(built_in, _names())), *own]

    def size(options: ExportOptions) -> list[Sized]:
        return sizes.size_recipes(sizes.described_weights(config, drafts, target, options), recipes)

    sized, beside = size(options), sizes.beside_weights(config, target)
    best = sizes.recommended(sized, fits, beside)
    if as_json:
        click.echo(json.dumps([_sized_json(each, best) for each in sized], indent=2))
        return
    advice = list(_advice(sized, best, beside))
    if COSTS[best.recipe.name].perplexity >= POOR:
        fewer = ((o, sizes.recommended(size(o), fits, beside)) for o in _fewer_towers(options))
        advice += _without_loss(fewer)
    parts = [_table(sized, best), "\n".join(advice), ABOUT_SIZES]
    click.echo("\n\n".join(parts))


def _names() -> list[str]:
    """Built-in recipes by name: those without an algorithm, and with every one."""
    return list(dict.fromkeys([*RECIPES, *(name for name in COSTS if name.endswith("-gptq"))]))


def _listed() -> str:
    width = max(map(len, PLAIN_NAMES))
    lines = [f"{name:{width}}  {RECIPES[name].summary}" for name in PLAIN_NAMES]
    return "\n".join([*lines, "", ABOUT_ALGORITHMS])


def _described(recipe: Recipe) -> dict[str, Any]:
    return {"name": recipe.name, "summary": recipe.summary, "rules": recipe.to_json()}


def _sized_json(sized: Sized, best: Sized) -> dict[str, Any]:
    cost = COSTS.get(sized.recipe.name)
    return {
        **_described(sized.recipe),
        "sizes": None if sized.sections is None else dict(sized.sections),
        "bytes": sized.nbytes,
        "cost": None if cost is None else asdict(cost),
        "recommended": sized is best,
    }


def _table(sized: Sequence[Sized], best: Sized) -> str:
    """A row for all recipes of a plan, which are equally large; a column for each algorithm's loss."""
    rows: dict[str, Sized] = {}
    for each in sized:
        rows.setdefault(_plan(each.recipe.name), each)
    suffixes = [f"-{algorithm.value}" for algorithm in ALGORITHMS]
    width = max(len("recipe"), *map(len, rows))
    lines = [
        f"{'':{width}}{'':>12}  perplexity lost",
        f"{'recipe':{width}}{'weights':>12}" + "".join(f"{suffix:>9}" for suffix in suffixes),
    ]
    for name, first in rows.items():
        size = "do not fit" if first.nbytes is None else shown_size(first.nbytes)
        losses = "".join(f"{_loss(name, suffix):>9}" for suffix in suffixes)
        mark = "  <--" if _plan(best.recipe.name) == name else ""
        lines.append(f"{name:{width}}{size:>12}{losses}{mark}")
    return "\n".join(lines)


def _plan(name: str) -> str:
    """A built-in recipe's name without its algorithm; that of another as it is."""
    stem, _, last = name.rpartition("-")
    named = last in {algorithm.value for algorithm in ALGORITHMS} and built_in(name) is not None
    return stem if named else name


def _loss(plan: str, suffix: str) -> str:
    """The loss of a plan with an algorithm, as it was measured; a dash where it was not."""
    found = COSTS.get(plan + suffix)
    stands_for = "-clip" if plan == "smallest" else "-minmax"
    if found is None and suffix == stands_for:
        found = COSTS.get(plan)
    return "-" if found is None else f"{100 * (found.perplexity - 1):.1f} %"


def _advice(sized: Sequence[Sized], best: Sized, beside: int) -> Iterator[str]:
    """Which recipe to take, and what else to think of."""
    name, loss = best.recipe.name, COSTS[best.recipe.name].perplexity - 1
    size = shown_size((best.nbytes or 0) + beside)
    default = "; export takes it unless told otherwise" if name == RECOMMENDED else ""
    yield f"recommended: --recipe {name} (a bundle of up to {size}, perplexity +{loss:.1%}){default}"
    if name == RECOMMENDED:
        int8 = next(each.nbytes or 0 for each in sized if each.recipe.name == "int8")
        yield (
            f"with a text like what the model will see, --recipe {WITH_A_TEXT} --calibration FILE.txt loses "
            f"less (+{COSTS[WITH_A_TEXT].perplexity - 1:.1%});\n"
            f"int8 loses nothing that was measured, in {shown_size(int8)}, and reads twice the bytes a token"
        )
    towers = {
        "--no-vision": ("pictures", Section.VISION_ENCODER),
        "--no-audio": ("sound", Section.AUDIO_ENCODER),
    }
    for option, (what, section) in towers.items():
        if best.sections is not None and section in best.sections:
            size = shown_size(best.sections[section])
            yield f"{option} leaves out the tower for {what}, {size} of the recommended bundle"


def _fewer_towers(options: ExportOptions) -> Iterator[ExportOptions]:
    """Options that leave a tower out, or both; those that cost an app least first."""
    for vision, audio in ((True, False), (False, True), (False, False)):
        if vision <= options.vision and audio <= options.audio:
            yield replace(options, vision=vision, audio=audio)


def _without_loss(found: Iterable[tuple[ExportOptions, Sized]]) -> Iterator[str]:
    """What to do about a loss that is large."""
    yield (
        "that loss is large, for a model that was not trained for so few bits: take a smaller model, or look "
        "for a recipe\nbetween these with `mtp-export quantize-search --max-size`"
    )
    for options, best in found:
        if COSTS[best.recipe.name].perplexity < POOR:
            without = "".join(
                f" {option}"
                for option, kept in (("--no-vision", options.vision), ("--no-audio", options.audio))
                if not kept
            )
            yield f"with{without} there is room for {best.recipe.name}"
            return
