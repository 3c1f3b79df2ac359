"""Iterating over a generator that returns a value when it ends."""

from __future__ import annotations

from collections.abc import Generator
from typing import Generic, TypeVar

YieldedT = TypeVar("YieldedT")
ReturnedT = TypeVar("ReturnedT")


class Returning(Generic[YieldedT, ReturnedT]):
    """Iterate over it once; ``value`` is then what the generator returned."""

    value: ReturnedT

    def __init__(self, generator: Generator[YieldedT, None, ReturnedT]) -> None:
        self._generator = generator

    def __iter__(self) -> Generator[YieldedT, None, None]:
        self.value = yield from self._generator
