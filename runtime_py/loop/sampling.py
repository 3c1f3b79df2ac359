"""Sampling under speculative decoding, without changing what is sampled.

A draft x, drawn from the drafter's distribution q, is accepted with probability min(1, p(x) / q(x)),
where p is the target's; a rejected one is replaced by a draw from max(p - q, 0), normalised. Each
emitted token is then distributed as p exactly, for any q. Both p and q have the settings applied
(temperature, then top-k, then top-p), so a good drafter is accepted as often as under greedy decoding. Of
a draft that was certain, q(x) = 1: it is accepted with probability p(x).

Source: Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", 2023, section 2.3
and appendix A.1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime_py.loop.drafting import Proposal
from runtime_py.loop.executor import Floats
from runtime_py.loop.speculative import Chooser, Greedy

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

    def of(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities of ``tokens`` ``[m]``."""
        where = np.searchsorted(self.tokens, tokens)
        where = np.minimum(where, len(self.tokens) - 1)
        return np.where(self.tokens[where] == tokens, self.chances[where], 0.0)

    def draw(self, random: np.random.Generator) -> int:
        """A token, by one uniform number."""
        cumulative = np.cumsum(self.chances)
        index = np.searchsorted(cumulative, random.random() * cumulative[-1], side="right")
        return int(self.tokens[min(int(index), len(self.tokens) - 1)])

    def without(self, other: Distribution) -> Distribution:
        """max(self - other, 0), normalised; self where nothing is left (the two are equal)."""
        rest = np.maximum(self.chances - other.of(self.tokens), 0.0)
        total = rest.sum()
        return Distribution(self.tokens, rest / total) if total > 0 else self


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
    scores = logits[tokens].astype(np.float64) / settings.temperature
    chances = np.exp(scores - scores.max())
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
    """Chooses by sampling; the same seed and calls give the same tokens.

    Args:
        settings: How to sample.
        suppressed: Tokens that are never drafted or chosen.
    """

    greedy = False

    def __init__(self, settings: SamplingSettings, suppressed: Collection[int] = ()) -> None:
        self._settings, self._suppressed = settings, sorted(suppressed)
        self._random = np.random.default_rng(settings.seed)

    def choose(self, logits: Floats) -> int:
        return self._distribution(logits).draw(self._random)

    def propose(self, logits: Floats) -> Proposal:
        drafter = self._distribution(logits)
        return Proposal(drafter.draw(self._random), drafter)

    def judge(self, proposals: Sequence[Proposal], logits: Floats) -> tuple[int, int]:
        for index, proposal in enumerate(proposals):
            target = self._distribution(logits[index])
            token = np.array([proposal.token])
            drafter = proposal.chances or Distribution(token, np.ones(1))
            assert isinstance(drafter, Distribution)
            allowed = float(target.of(token)[0] / drafter.of(token)[0])
            if self._random.random() >= allowed:
                return index, target.without(drafter).draw(self._random)
        return len(proposals), self.choose(logits[len(proposals)])

    def _distribution(self, logits: Floats) -> Distribution:
        return distribution(logits, self._settings, self._suppressed)


def chooser(settings: SamplingSettings, suppressed: Collection[int] = ()) -> Chooser:
    """Greedy or sampling, as the settings say; ``suppressed`` tokens are never chosen."""
    return Greedy(suppressed) if settings.greedy else Sampler(settings, suppressed)
