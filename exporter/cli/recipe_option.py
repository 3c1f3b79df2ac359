"""The ``--recipe`` option: a built-in recipe's name, or a recipe file."""

from __future__ import annotations

from pathlib import Path

import click

from quantize.builtin_recipes import built_in
from quantize.recipe import Recipe
from quantize.recipe_file import read_recipe, unknown_recipe


class RecipeType(click.ParamType[Recipe]):
    """Becomes a :class:`Recipe`; what ends in ``.json`` is a file."""

    name = "recipe"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Shown in ``--help``."""
        return "NAME|FILE.json"

    def convert(
        self, value: str | Recipe, param: click.Parameter | None, ctx: click.Context | None
    ) -> Recipe:
        """Look a recipe up.

        Raises:
            RecipeError: A file is not a recipe.
        """
        if isinstance(value, Recipe):
            return value
        if value.endswith(".json"):
            return read_recipe(Path(value))
        recipe = built_in(value)
        if recipe is None:
            self.fail(unknown_recipe(value), param, ctx)
        return recipe


RECIPE = RecipeType()
