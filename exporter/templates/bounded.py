"""Chat templates tried within bounds on time and memory.

Neither of the interpreters that run them here limits the memory that a template takes, jinja2 does not limit
its time either, and minijinja ends the whole process when memory runs out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

from exporter.bounded_call import OutOfBoundsError, bounded_call
from exporter.errors import TemplateError

SECONDS = 30
"""All conversations of every candidate take less than a second with the templates of today's models."""

MEMORY = 2 << 30
"""Bytes of address space."""

P = ParamSpec("P")
T = TypeVar("T")


@cache
def within_bounds(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function of this project's that runs chat templates returns; asked again, it is remembered.

    Args:
        function: At the top of its module.
        args: For it, hashable.
        kwargs: Likewise.

    Raises:
        TemplateError: The function raised it; or it took too long or too much memory.
    """
    try:
        return bounded_call(SECONDS, MEMORY, function, *args, **kwargs)
    except OutOfBoundsError as error:
        raise TemplateError(f"rendering the chat template {error}") from error
