"""Recipes: which tensors are stored in how many bits.

A recipe is an ordered list of rules; the first rule whose pattern matches a tensor's name decides.
Names are ``<model>.<parameter>``, for example ``target.layers.3.mlp.gate_proj.weight``,
``target.embed_tokens.weight`` or ``drafter.lm_head.weight``. Vectors (norm weights, layer scalars)
are never quantised: they are a thousandth of the bytes and every token passes through them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


class Storage(enum.StrEnum):
    """How the elements of one tensor are stored."""

    FLOAT32 = "float32"
    INT8 = "int8"
    """Symmetric, one scale per row (output channel or token)."""
    INT4 = "int4"
    """Symmetric, one scale per row, two elements a byte."""

    @property
    def bits(self) -> int:
        return {Storage.FLOAT32: 32, Storage.INT8: 8, Storage.INT4: 4}[self]


@dataclass(frozen=True)
class Rule:
    """Tensors whose name matches ``pattern`` (shell style) are stored as ``storage``."""

    pattern: str
    storage: Storage


@dataclass(frozen=True)
class Recipe:
    """A named, ordered list of rules."""

    name: str
    summary: str
    rules: tuple[Rule, ...]

    def storage(self, tensor: str) -> Storage:
        """How ``tensor`` is stored; float32 where no rule matches."""
        for rule in self.rules:
            if fnmatchcase(tensor, rule.pattern):
                return rule.storage
        return Storage.FLOAT32

    def to_json(self) -> list[dict[str, str]]:
        """The rules as JSON."""
        return [{"pattern": rule.pattern, "storage": rule.storage.value} for rule in self.rules]

    def unmatched(self, tensors: Iterable[str]) -> list[str]:
        """Patterns that match none of ``tensors``."""
        names = list(tensors)
        return [
            rule.pattern
            for rule in self.rules
            if not any(fnmatchcase(name, rule.pattern) for name in names)
        ]


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("float32", "every tensor as float32: the reference for parity", ()),
        Recipe("int8", "every matrix and table int8 per row", (Rule("*", Storage.INT8),)),
        Recipe(
            "int4",
            "target matrices and tables int4 per row, drafter int8 per row",
            (Rule("target.*", Storage.INT4), Rule("drafter.*", Storage.INT8)),
        ),
    )
}
"""Built-in recipes by name."""
