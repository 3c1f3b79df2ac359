"""Recipes: which tensors are stored in how many bits, and how their codes are chosen.

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

from quantize.storage import Storage


class Algorithm(enum.StrEnum):
    """How scales and codes are chosen."""

    MINMAX = "minmax"
    """The largest magnitude gets the largest code."""
    CLIP = "clip"
    """The scale with the least squared error: outliers are clipped so that the others are finer."""
    GPTQ = "gptq"
    """Codes that keep the product with calibration inputs: each column makes up for the errors of
    those before it. Needs a calibration text."""


@dataclass(frozen=True)
class Rule:
    """Tensors whose name matches ``pattern`` (shell style) are stored as ``storage``."""

    pattern: str
    storage: Storage
    algorithm: Algorithm = Algorithm.MINMAX

    def matches(self, tensor: str) -> bool:
        """Whether this rule is about ``tensor``."""
        return fnmatchcase(tensor, self.pattern)

    def to_json(self) -> dict[str, str]:
        """The rule as a recipe file has it."""
        fields = {"pattern": self.pattern, "storage": self.storage.value}
        return fields | ({"algorithm": self.algorithm.value} if self.storage.quantised else {})


UNQUANTISED = Rule("*", Storage.FLOAT32)
"""What applies where no rule of a recipe matches."""


@dataclass(frozen=True)
class Recipe:
    """A named, ordered list of rules."""

    name: str
    summary: str
    rules: tuple[Rule, ...]

    def rule(self, tensor: str) -> Rule:
        """What decides about ``tensor``; float32 where no rule matches."""
        return next((rule for rule in self.rules if rule.matches(tensor)), UNQUANTISED)

    def storage(self, tensor: str) -> Storage:
        """How ``tensor`` is stored."""
        return self.rule(tensor).storage

    @property
    def calibrated(self) -> bool:
        """Whether a calibration text is needed."""
        return any(rule.algorithm is Algorithm.GPTQ for rule in self.rules)

    def to_json(self) -> list[dict[str, str]]:
        """The rules as JSON."""
        return [rule.to_json() for rule in self.rules]

    def unmatched(self, tensors: Iterable[str]) -> list[str]:
        """Patterns that match none of ``tensors``."""
        names = list(tensors)
        return [rule.pattern for rule in self.rules if not any(map(rule.matches, names))]
