"""A call in a process of its own, with bounds on time and memory: for programs that strangers wrote.

Chat templates and regular expressions are such programs. Run as ``python -m exporter.bounded_call`` it reads
a pickled function and its arguments from stdin, and writes what the function returns, or its error, to
stdout.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from exporter.child_process import child_command
from exporter.errors import MtpExportError

P = ParamSpec("P")
T = TypeVar("T")


class OutOfBoundsError(Exception):
    """A call took too much time, or ended its process; says which, as the end of a sentence."""


def bounded_call(
    seconds: float, memory: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What a function at the top of a module of this project returns.

    Args:
        seconds: That it may take.
        memory: Bytes of address space that its process may have, or fewer if this one may not have so
            many; not limited on Windows.
        function: Called there.
        args: For it.
        kwargs: For it.

    Raises:
        OutOfBoundsError: It took longer, or its process did not end well.
        MtpExportError: The function raised it.
    """
    try:
        done = subprocess.run(
            child_command(__name__),
            input=pickle.dumps((memory, function, args, kwargs)),
            capture_output=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise OutOfBoundsError(f"took more than {seconds:g} seconds") from error
    if done.returncode:
        raise OutOfBoundsError(
            f"ended its process with status {done.returncode}, which may use {memory >> 20} MiB of memory"
        )
    result: T | MtpExportError = pickle.loads(done.stdout)
    if isinstance(result, MtpExportError):
        raise result
    return result


def main() -> None:
    """Do as the module's docstring says."""
    memory, function, args, kwargs = pickle.loads(sys.stdin.buffer.read())
    with suppress(ImportError):  # on Windows
        _limit(memory)
    try:
        result = function(*args, **kwargs)
    except MtpExportError as error:
        result = error
    sys.stdout.buffer.write(pickle.dumps(result))


def _limit(memory: int) -> None:
    """Bound the address space of this process, which may have been given a lower bound (``ulimit -v``)."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    least = memory if most == resource.RLIM_INFINITY else min(memory, most)
    resource.setrlimit(resource.RLIMIT_AS, (least, least))


if __name__ == "__main__":
    main()
