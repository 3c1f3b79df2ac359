"""``mtp-export recipes``."""

from __future__ import annotations

import json

import click

from exporter.cli.strict_command import StrictCommand
from quantize.builtin_recipes import PLAIN_NAMES, RECIPES

ALGORITHMS = """\
A name other than float32 may have an algorithm behind it: -minmax, -clip (scales by least squared error)
or -gptq (codes chosen with `export --calibration FILE.txt`). A file with rules of your own may be given
instead of a name: see docs/recipes.md. Towers for pictures and sound are int8 unless a rule for vision.* or
audio.* says otherwise."""


@click.command(cls=StrictCommand)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Machine-readable: objects with `name`, `summary` and `rules`.",
)
def command(as_json: bool) -> None:
    """List the recipes: how each stores the weights."""
    if as_json:
        objects = [
            {"name": recipe.name, "summary": recipe.summary, "rules": recipe.to_json()}
            for recipe in RECIPES.values()
        ]
        click.echo(json.dumps(objects, indent=2))
        return
    width = max(map(len, PLAIN_NAMES))
    for name in PLAIN_NAMES:
        click.echo(f"{name:{width}}  {RECIPES[name].summary}")
    click.echo(f"\n{ALGORITHMS}")
