"""The KV caches of a text model: their shapes, and the numbers of slots that can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LENGTH_MULTIPLE = 16
"""A stretch of slots is rounded up to this, so that kernels meet whole tiles."""


@dataclass(frozen=True)
class KvCache:
    """One KV cache: keys ``[1, K, S, D]`` and, transposed, values ``[1, K, D, S]``.

    Their element type is the same for all caches of a bundle: :attr:`Contract.kv_dtype`.

    ``layer`` is the decoder layer that owns it; the contract numbers caches by owner order, which
    for Gemma 4 is the layer index itself (owners come first in the stack).
    """

    layer: int
    kv_heads: int
    head_dim: int
    sliding: bool


@dataclass(frozen=True)
class Ring:
    """Caches of sliding layers that are used in turn: position p is in slot ``p mod turn``.

    A call of several tokens writes them one behind the other; what sticks out past the turn is in one of
    ``overhang`` slots behind it. So a call may write ``overhang`` tokens and one.
    """

    turn: int
    overhang: int

    @property
    def slots(self) -> int:
        """Of each cache."""
        return self.turn + self.overhang


def is_prime(number: int) -> bool:
    """Whether the engine takes a number of slots for a placeholder."""
    return number > 10 and all(number % factor for factor in range(2, int(number**0.5) + 1))


def stretch_length(reach: int, tokens: int) -> int:
    """Slots that ``tokens`` consecutive tokens see, each the last ``reach``; rounded up."""
    return -(-(reach + tokens - 1) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


def stated(lengths: Sequence[range]) -> str:
    """Cache lengths in words: ``640 to 1024 or 1536 to 32770``."""
    return " or ".join(
        f"{these[0]} to {these[-1]}" if len(these) > 1 else f"{these[0]}" for these in lengths
    )


def usable_lengths(
    prefills: Sequence[int], slots_for: Callable[[int], int], longest: int
) -> tuple[range, ...]:
    """Numbers of slots that graphs with these prefill lengths can be loaded with.

    A prefill of T tokens is used for prompts of T and more, which a cache of up to T slots does not take;
    so it counts for longer caches only. Prefills of 128 and 1024 with a window of 512 give 640 to 1024
    (without the second) and 1536 on.

    Args:
        prefills: Numbers of tokens.
        slots_for: The least number of slots, if no prefill is longer than its argument.
        longest: The greatest number of slots.
    """
    tokens = sorted(prefills)
    ends = (*(length + 1 for length in tokens[1:]), longest + 1)
    found: list[range] = []
    for prefill, end in zip(tokens, ends, strict=True):
        first = slots_for(prefill)
        if found and first <= found[-1].stop:
            first = found.pop().start
        if first < end:
            found.append(range(first, end))
    return tuple(found)
