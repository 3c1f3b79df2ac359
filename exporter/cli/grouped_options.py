"""Options that several commands have, handed to each as one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def grouped(kind: type[Any], name: str, options: Sequence[Decorator]) -> Decorator:
    """A decorator that adds options, whose values the command gets as one argument.

    Args:
        kind: A dataclass with a field for each option.
        name: Of the argument.
        options: Made by ``click.option``, in the order of the help text.
    """
    names = [field.name for field in fields(kind)]

    def decorate(function: Command) -> Command:
        @wraps(function)
        def gathering(**given: Any) -> Any:
            values = {field: given.pop(field) for field in names}
            return function(**given, **{name: kind(**values)})

        optioned: Command = gathering
        for option in reversed(options):
            optioned = option(optioned)
        return optioned

    return decorate
