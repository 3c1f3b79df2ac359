"""Chat templates tried in a process of their own, with bounds on time and memory.

A template is a program. Neither of the interpreters that run one here limits the memory that it takes, jinja2
does not limit its time either, and minijinja ends the whole process when memory runs out.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import ParamSpec, TypeVar

from exporter.child_process import child_command
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
        done = subprocess.run(
            child_command(__name__),
            input=pickle.dumps((function, args, kwargs)),
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise TemplateError(
            f"the chat template did not render all conversations within {SECONDS} seconds"
        ) from error
    if done.returncode:
        raise TemplateError(
            f"the chat template ended the process that rendered it (status {done.returncode}), which may use "
            f"{MEMORY >> 30} GiB of memory"
        )
    result: T | TemplateError = pickle.loads(done.stdout)
    if isinstance(result, TemplateError):
        raise result
    return result


def main() -> None:
    """Call the function that stdin names, and write what it returns, or its error, to stdout."""
    function, args, kwargs = pickle.loads(sys.stdin.buffer.read())
    with suppress(ImportError):  # on Windows, where only the time is limited
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        result = function(*args, **kwargs)
    except TemplateError as error:
        result = error
    sys.stdout.buffer.write(pickle.dumps(result))


if __name__ == "__main__":
    main()
