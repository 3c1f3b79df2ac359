"""Recipe files: a user's own recipe as JSON.

    {"name": "mine", "summary": "what it is for",
     "rules": [{"pattern": "target.*.mlp.*", "storage": "int4-block32", "algorithm": "clip"},
               {"pattern": "target.*", "storage": "int8"}]}

``summary`` and ``algorithm`` (``minmax``) may be left out. A name has letters, digits, ``_``, ``-`` and
``.`` only, since files are called after recipes. Anything else that is unknown, missing or of
another type is an error, and all errors are reported at once.
"""

from __future__ import annotations

import enum
import json
import re
from pathlib import Path
from typing import Any, TypeVar

from exporter.errors import RecipeError, listed
from exporter.json_text import JsonError, parse_json
from exporter.regular_file import require_file
from quantize.builtin_recipes import ALGORITHMS, PLAIN_NAMES, built_in
from quantize.recipe import Algorithm, Recipe, Rule
from quantize.storage import Storage

NAME = re.compile(r"[\w.-]+")

Choice = TypeVar("Choice", bound=enum.StrEnum)


def read_recipe(path: Path) -> Recipe:
    """The recipe of a file.

    Raises:
        RecipeError: The file cannot be read or is not a recipe; every offence is listed.
    """
    try:
        value = parse_json(require_file(path).read_bytes(), unique_keys=True)
    except OSError as error:
        raise RecipeError(f"{path}: expected a recipe ({error.strerror})") from error
    except JsonError as error:
        raise RecipeError(f"{path}: expected a recipe as JSON, found {error}") from error
    return parse_recipe(value, str(path))


def load_recipe(name: str | Path) -> Recipe:
    """The built-in recipe of a name; what ends in ``.json`` is a file.

    Raises:
        RecipeError: There is no such recipe, or the file is not one.
    """
    if str(name).endswith(".json"):
        return read_recipe(Path(name))
    if (recipe := built_in(str(name))) is None:
        raise RecipeError(unknown_recipe(str(name)))
    return recipe


def unknown_recipe(name: str) -> str:
    """What to tell of a name that no built-in recipe has."""
    suffixes = ", ".join(f"-{algorithm.value}" for algorithm in ALGORITHMS)
    return (
        f"{name!r} is no recipe; choose one of {', '.join(PLAIN_NAMES)}, all but float32 with {suffixes} "
        "behind if you like, or give a file whose name ends in .json"
    )


def as_recipe_name(text: str) -> str:
    """The text with ``-`` in the place of what a name cannot have."""
    return "-".join(NAME.findall(text)) or "recipe"


def write_recipe(recipe: Recipe) -> str:
    """The text of a file from which :func:`read_recipe` makes the same recipe."""
    value = {"name": recipe.name, "summary": recipe.summary, "rules": recipe.to_json()}
    return json.dumps(value, indent=2) + "\n"


def parse_recipe(value: Any, where: str) -> Recipe:
    """A recipe from decoded JSON.

    Raises:
        RecipeError: It is not a recipe; every offence is listed.
    """
    problems: list[str] = []
    fields = _fields(value, {"name", "rules"}, {"summary"}, "the recipe", problems)
    name, summary = (_text(fields, key, "the recipe", problems) for key in ("name", "summary"))
    if name and not NAME.fullmatch(name):
        problems.append(f"the name must be of letters, digits, '_', '-' and '.', found {name!r}")
    given = fields.get("rules", [])
    if not isinstance(given, list) or ("rules" in fields and not given):
        problems.append(f"rules must be a list of at least one rule, found {given!r}")
        given = []
    rules = tuple(_rule(rule, f"rule {number}", problems) for number, rule in enumerate(given, 1))
    if problems:
        raise RecipeError(f"{where}: {listed(problems)}")
    return Recipe(name, summary, rules)


def _rule(value: Any, where: str, problems: list[str]) -> Rule:
    fields = _fields(value, {"pattern", "storage"}, {"algorithm"}, where, problems)
    pattern = _text(fields, "pattern", where, problems)
    storage = _choice(fields, "storage", Storage.FLOAT32, where, problems)
    algorithm = _choice(fields, "algorithm", Algorithm.MINMAX, where, problems)
    if "algorithm" in fields and fields.get("storage") == Storage.FLOAT32:
        problems.append(f"{where}: float32 takes no algorithm, remove it")
    return Rule(pattern, storage, algorithm)


def _fields(
    value: Any, required: set[str], optional: set[str], where: str, problems: list[str]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        problems.append(f"{where} must be an object, found {value!r}")
        return {}
    problems += [f"{where} has no {key}" for key in sorted(required - value.keys())]
    known = ", ".join(sorted(required | optional))
    problems += [
        f"{where} has an unknown key {key!r}, expected {known}"
        for key in sorted(value.keys() - required - optional)
    ]
    return value


def _text(fields: dict[str, Any], key: str, where: str, problems: list[str]) -> str:
    text = fields.get(key, "")
    if key in fields and (not isinstance(text, str) or (not text and key != "summary")):
        problems.append(f"{where}: {key} must be text, found {text!r}")
    return str(text)


def _choice(
    fields: dict[str, Any], key: str, default: Choice, where: str, problems: list[str]
) -> Choice:
    kind, value = type(default), fields.get(key, default)
    if value in list(kind):
        return kind(value)
    problems.append(f"{where}: {key} must be one of {', '.join(kind)}, found {value!r}")
    return default
