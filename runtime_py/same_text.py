"""Whether two replies say the same, as far as the stock engine's limits allow, and where texts part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime_py.reply import Reply


@dataclass(frozen=True)
class ReplyLimits:
    """What can cut an answer short."""

    max_new_tokens: int
    cache_length: int
    draft_length: int


def same_text(off: Reply, on: Reply, limits: ReplyLimits) -> bool:
    """Whether an answer with MTP is the one without.

    The engine counts rounds, not tokens, against its limits: with MTP it may give up to a draft's
    length more than asked for. So where the plain answer was cut off, by ``max_new_tokens`` or
    because the cache was full, the other may go on by so much. It makes the first token and the first
    round before it looks at all, so of an answer of one token it may give one more.
    """
    if (off.text, off.thought, off.tool_calls) == (on.text, on.thought, on.tool_calls):
        return True
    full = off.context_tokens >= limits.cache_length - 1
    cut_off = full or off.decode_tokens >= limits.max_new_tokens
    extra = on.decode_tokens - off.decode_tokens
    return (
        cut_off
        and _goes_on(off, on)
        and 0 <= extra <= limits.draft_length + (limits.max_new_tokens == 1)
    )


def _goes_on(off: Reply, on: Reply) -> bool:
    """Whether an answer begins as a shorter one does: with its thought, then its text, then its calls."""
    thought = on.thought == off.thought if off.text else on.thought.startswith(off.thought)
    calls = on.tool_calls[: len(off.tool_calls)] == off.tool_calls
    return thought and calls and on.text.startswith(off.text)


def first_difference(one: Sequence[object], other: Sequence[object]) -> int | None:
    """Index of the first element that differs, or that only one side has."""
    differing = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    found = next(differing, min(len(one), len(other)))
    return None if found == len(one) == len(other) else found
