"""Sampling that speculative decoding does not change: the same seed gives the same text.

For each slot every token has a random number of its own, its noise, that follows from the seed, the slot and
the token alone. The token is chosen whose log-probability and noise (from Gumbel's distribution) have the
largest sum, which is a draw from the distribution. Drafts are chosen with the noise of their slots from what
the drafter says, and accepted where the target chooses the same. So what is emitted is what the target alone
would have drawn, whoever drafts how much; and a drafter that is nearly right is accepted nearly always: at
least (1 - d) / (1 + d) of the time, where d is the total variation distance of its distribution from the
target's. (Rejection sampling accepts 1 - d, but its draws depend on what was drafted.) Both distributions
have the settings applied: temperature, then top-k, then top-p.

Source: Daliri, Musco and Suresh, "Coupling without Communication and Drafter-Invariant Speculative Decoding",
2024, section 3.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime_py.loop.executor import Floats
from runtime_py.loop.speculative import Chooser, Greedy, longest_agreed

NOT_A_CANDIDATE = -5.0e3
"""Logits below are the floor (-1e4) of tokens a centroid head did not score: probability 0.

The drafter's scores proper are far above at any temperature, and softmax alone would leave the floor
with a little probability when the temperature is in the thousands.
"""


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample.

    ``temperature`` 0 or ``top_k`` 1 is greedy; ``top_k`` 0 and ``top_p`` 1 leave everything in.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    @property
    def greedy(self) -> bool:
        return self.temperature == 0 or self.top_k == 1


GREEDY = SamplingSettings(top_k=1)


@dataclass(frozen=True)
class Distribution:
    """Probabilities of the tokens that have any: ``tokens`` ``[n]`` ascending, ``chances`` ``[n]``."""

    tokens: NDArray[np.int64]
    chances: NDArray[np.float64]

    def draw(self, seed: int, slot: int) -> int:
        """The token of a slot."""
        with np.errstate(divide="ignore"):  # of a chance that is too small for a float
            scores = np.log(self.chances) + noise(seed, slot, self.tokens)
        return int(self.tokens[scores.argmax()])


def noise(seed: int, slot: int, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Gumbel noise ``[n]`` of ``tokens`` ``[n]``; independent for any two seeds, slots or tokens."""
    base = _mixed(_mixed(np.array([seed], np.uint64)) + np.uint64(slot))
    bits = _mixed(_mixed(base + tokens.astype(np.uint64)))
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53  # above 0, below 1
    gumbel: NDArray[np.float64] = -np.log(-np.log(uniform))
    return gumbel


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number as another one that looks random.

    Source: SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
    """
    values = values + np.uint64(0x9E3779B97F4A7C15)  # arrays wrap around
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


def distribution(
    logits: Floats, settings: SamplingSettings, suppressed: Sequence[int] = ()
) -> Distribution:
    """What ``settings`` make of logits ``[V]`` without those of ``suppressed`` tokens."""
    candidates = logits > NOT_A_CANDIDATE
    candidates[list(suppressed)] = False
    tokens = np.flatnonzero(candidates)
    if settings.top_k and settings.top_k < len(tokens):
        best = np.argpartition(logits[tokens], -settings.top_k)[-settings.top_k :]
        tokens = np.sort(tokens[best])
    scores = logits[tokens].astype(np.float64)
    with np.errstate(over="ignore"):  # at temperatures so low that only the likeliest are left
        chances = np.exp((scores - scores.max()) / settings.temperature)
    chances /= chances.sum()
    if settings.top_p < 1:
        kept = _nucleus(chances, settings.top_p)
        tokens, chances = tokens[kept], chances[kept] / chances[kept].sum()
    return Distribution(tokens, chances)


def _nucleus(chances: NDArray[np.float64], top_p: float) -> NDArray[np.int64]:
    """Indices, ascending, of the fewest likeliest tokens that together reach ``top_p``."""
    order = np.argsort(-chances, kind="stable")
    before = np.cumsum(chances[order]) - chances[order]
    return np.sort(order[: max(1, int(np.count_nonzero(before < top_p)))])


class Sampler:
    """Chooses by sampling; the same seed gives the same tokens for the same logits and slots.

    Args:
        settings: How to sample.
        suppressed: Tokens that are never drafted or chosen.
    """

    greedy = False

    def __init__(self, settings: SamplingSettings, suppressed: Collection[int] = ()) -> None:
        self._settings, self._suppressed = settings, sorted(suppressed)

    def choose(self, logits: Floats, slot: int) -> int:
        found = distribution(logits, self._settings, self._suppressed)
        return found.draw(self._settings.seed, slot)

    def judge(self, drafts: Sequence[int], logits: Floats, slot: int) -> tuple[int, int]:
        return longest_agreed(self.choose, drafts, logits, slot)


def chooser(settings: SamplingSettings, suppressed: Collection[int] = ()) -> Chooser:
    """Greedy or sampling, as the settings say; ``suppressed`` tokens are never chosen."""
    return Greedy(suppressed) if settings.greedy else Sampler(settings, suppressed)
