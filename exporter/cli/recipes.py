"""``mtp-export recipes``."""

from __future__ import annotations

import json

import click

from quantize.recipe import RECIPES


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: objects with `name`.")
def command(as_json: bool) -> None:
    """List the recipes: how each stores the weights."""
    if as_json:
        objects = [
            {"name": recipe.name, "summary": recipe.summary, "rules": recipe.to_json()}
            for recipe in RECIPES.values()
        ]
        click.echo(json.dumps(objects, indent=2))
        return
    for recipe in RECIPES.values():
        click.echo(f"{recipe.name:10} {recipe.summary}")
