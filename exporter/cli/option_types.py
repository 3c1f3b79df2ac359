"""Types of options that several commands take: numbers within what runtimes can be given, and whole texts."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import click

LARGEST = 2**31 - 1
"""Of a number that the engine is given as an int32."""

COUNT = click.IntRange(1, LARGEST)

SEED = click.IntRange(0, LARGEST)

THREADS = click.IntRange(1, 1024)


class FiniteRange(click.FloatRange):
    """A range of numbers; "nan", which is in no range, is refused as well."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; ``value`` may be text still."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


TEMPERATURE = FiniteRange(0, 1e6)
"""Sampling is uniform long before its end."""

SHARE = FiniteRange(0, 1)


def whole_texts(ctx: click.Context, param: click.Parameter, texts: Sequence[str]) -> Sequence[str]:
    """The texts of an option, read as UTF-8 whatever the locale is.

    Raises:
        click.BadParameter: One is not text in UTF-8.
    """
    try:
        return [os.fsencode(text).decode() for text in texts]
    except UnicodeError as error:
        raise click.BadParameter(f"expected text in UTF-8 ({error})") from error


def parse_numbers(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """``128,1024`` as numbers."""
    if value is None:
        return None
    try:
        lengths = tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"expected numbers separated by commas, found {value!r}"
        ) from error
    if not all(1 <= length <= 8192 for length in lengths):
        raise click.BadParameter(f"expected numbers from 1 to 8192, found {value!r}")
    return lengths
