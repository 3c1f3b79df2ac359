"""What a failure holds on to: a traceback keeps the variables of the calls that failed."""

from __future__ import annotations

from traceback import clear_frames


def let_go(error: BaseException) -> None:
    """Clear the variables of the calls that have ended, those of its causes, too.

    For native objects that must be gone before the memory or the library they use. What a function has
    from around it (a closure) stays, because its frame keeps the function itself.
    """
    failed: BaseException | None = error
    while failed is not None:
        clear_frames(failed.__traceback__)
        failed = failed.__cause__
