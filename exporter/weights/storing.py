"""How a weight is stored: what the recipe says of it, or the codes that it has already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from exporter.bundle.tensor_kind import tensor_kind
from exporter.contract.names import Dtype
from exporter.errors import RecipeError
from exporter.weights.matching import Weight
from quantize.arrays import StoredRows, store_rows
from quantize.recipe import UNQUANTISED, Recipe, Rule
from quantize.storage import Storage


@dataclass(frozen=True)
class StoredWeight:
    """How one weight was stored; the manifest lists these."""

    name: str
    storage: str
    nbytes: int


def choose_rule(weight: Weight, recipe: Recipe) -> Rule | None:
    """How a weight is stored; None for an integer table.

    Codes that come ready are stored as they are, whatever the recipe says.

    Raises:
        RecipeError: The weight's rows do not fit the storage.
    """
    if weight.spec.dtype is not Dtype.FLOAT32:
        return None
    if weight.ready is not None:
        return Rule(weight.name, weight.ready.storage)
    rule = recipe.rule(weight.name) if weight.is_matrix else UNQUANTISED
    if not rule.storage.fits(weight.row_length):
        (problem,) = misfits([(weight.name, weight.row_length, rule.storage)])
        raise RecipeError(f"recipe {recipe.name}: {problem}")
    return rule


def misfits(wanted: Iterable[tuple[str, int, Storage]]) -> Iterator[str]:
    """Why weights cannot be stored so, and what can be done; once for those that differ only in their layer.

    Args:
        wanted: Of each its name, the length of its rows, and how it is to be stored.
    """
    seen = set()
    for name, length, storage in wanted:
        kind = tensor_kind(name), length
        if not storage.fits(length) and kind not in seen:
            seen.add(kind)
            yield (
                f"{name} has rows of {length} elements, and {storage} needs a multiple of "
                f"{storage.divisor()}; give it {storage.nearest_fit(length)}"
            )


def stored_blocks(weight: Weight, rule: Rule) -> Iterator[StoredRows]:
    """The rows of a weight as they go to disk: as they come, or quantised now."""
    if weight.ready is not None:
        return weight.ready.blocks()
    return (store_rows(rows, rule.storage, rule.algorithm) for rows in weight.blocks())
