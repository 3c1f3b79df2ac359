"""Groups of tensors that a search stores alike, and the ways to store them."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.bundle.tensor_kind import tensor_kind
from exporter.weights.matching import Weights
from quantize.recipe import Algorithm, Rule
from quantize.storage import Storage


@dataclass(frozen=True)
class Way:
    """A way to store tensors."""

    storage: Storage
    algorithm: Algorithm

    @property
    def word(self) -> str:
        """``int4-block32-clip``; what :func:`parse_way` reads."""
        plain = self.algorithm is Algorithm.MINMAX
        return self.storage.value if plain else f"{self.storage.value}-{self.algorithm.value}"

    def rule(self, pattern: str) -> Rule:
        """The rule that stores so what matches ``pattern``."""
        return Rule(pattern, self.storage, self.algorithm)


def parse_way(word: str) -> Way:
    """``<storage>`` or ``<storage>-<algorithm>``.

    Raises:
        ValueError: It is neither.
    """
    for algorithm in Algorithm:
        if word.endswith(f"-{algorithm.value}"):
            return Way(Storage(word.removesuffix(f"-{algorithm.value}")), algorithm)
    return Way(Storage(word), Algorithm.MINMAX)


@dataclass(frozen=True)
class Group:
    """The tensors whose names match ``pattern``."""

    pattern: str
    row_lengths: frozenset[int]

    def fits(self, way: Way) -> bool:
        """Whether every tensor of the group can be stored so."""
        return all(way.storage.fits(length) for length in self.row_lengths)


def group_tensors(weights: Weights, *, each: bool) -> list[Group]:
    """Matrices and tables by kind, layer indices left open; or ``each`` by itself."""
    lengths: dict[str, set[int]] = {}
    for section in weights.values():
        for weight in section.values():
            if weight.is_matrix:
                pattern = weight.name if each else tensor_kind(weight.name)
                lengths.setdefault(pattern, set()).add(weight.row_length)
    return [Group(pattern, frozenset(found)) for pattern, found in lengths.items()]
