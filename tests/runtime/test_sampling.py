"""What is sampled under speculative decoding is distributed as direct sampling would be.

The test: Markov chains of order 1 over 8 tokens emit 16000 tokens; their transitions are compared with
the target's own probabilities by Pearson's chi-square over the 8 rows (cells with an expected count
below 5 are joined; at most 56 degrees of freedom), at significance 0.001. Its power: with n = 16000 a
deviation of w = 0.07 (root mean square of the relative error in the probabilities) has noncentrality
n w^2 = 78 and is found with a probability of 0.99. An acceptance rule that is wrong in a plausible way
fails the same test below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime_py.loop.executor import Floats
from runtime_py.loop.lookup import NO_MATCH, Match
from runtime_py.loop.rounds import Acceptance, Cursor, Limits, Round, Source
from runtime_py.loop.sampling import Sampler, SamplingSettings, chooser, distribution, noise
from runtime_py.loop.speculative import (
    Chooser,
    DraftPlan,
    DraftPolicy,
    Fixed,
    Greedy,
    Speaker,
    generate,
)
from tests.runtime.toys import DRAFTERS, DraftLogits, ToyExecutor

VOCAB = 8
CHAINS, CHAIN_LENGTH = 64, 250
SIGNIFICANCE = 1e-3
TWO_DRAFTS = Fixed(2)
FLOOR = -1.0e4  # of the exported centroid heads


def chi_square_chance(statistic: float, freedom: int) -> float:
    """Probability of a larger chi-square value (Wilson and Hilferty's approximation)."""
    spread = 2 / (9 * freedom)
    normal = ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(normal / math.sqrt(2)) / 2


def test_the_chi_square_approximation() -> None:
    """Against tabulated upper quantiles."""
    for freedom, quantile, chance in ((10, 29.588, 1e-3), (50, 86.661, 1e-3), (56, 74.468, 0.05)):
        assert chi_square_chance(quantile, freedom) == pytest.approx(chance, rel=0.08)


def speak(
    toy: ToyExecutor, choosing: Chooser, policy: DraftPolicy, tokens: int = CHAIN_LENGTH
) -> tuple[list[int], list[Round]]:
    """One chain, from token 0 on."""
    cache = toy.new_cache()
    toy.prefill(cache, [0], 0)
    limits = Limits(tokens, frozenset(), toy.cache_length)
    speaker = Speaker(toy, cache, choosing)
    rounds = list(generate(speaker, Cursor(1, 0), limits, policy))
    return [token for done in rounds for token in done.tokens], rounds


def agreement(
    toy: ToyExecutor,
    settings: SamplingSettings,
    policy: DraftPolicy = TWO_DRAFTS,
    sampler: Callable[[SamplingSettings], Chooser] = chooser,
) -> float:
    """Significance of the difference between transitions and the target's probabilities."""
    statistic, freedom = 0.0, 0
    each = [replace(settings, seed=settings.seed + 1000 * chain) for chain in range(CHAINS)]
    chains = [speak(toy, sampler(of_chain), policy)[0] for of_chain in each]
    pairs = np.hstack([np.array([[0, *chain[:-1]], chain]) for chain in chains])
    for state in range(VOCAB):
        following = pairs[1][pairs[0] == state]
        observed = np.bincount(following, minlength=VOCAB).astype(float)
        target = distribution(toy.target_logits([state]), settings)
        expected = np.zeros(VOCAB)
        expected[target.tokens] = target.chances * len(following)
        assert not observed[expected == 0].any(), "a token was emitted that cannot be sampled"
        observed, expected = joined(observed, expected)
        if len(expected) > 1:
            statistic += float(((observed - expected) ** 2 / expected).sum())
            freedom += len(expected) - 1
    return chi_square_chance(statistic, freedom)


def joined(
    observed: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cells with an expected count below 5 become one."""
    small = expected < 5
    if expected[small].sum() < 5:
        return observed[~small], expected[~small]
    return (
        np.append(observed[~small], observed[small].sum()),
        np.append(expected[~small], expected[small].sum()),
    )


def few_candidates(toy: ToyExecutor) -> DraftLogits:
    """Scores three tokens only, the others are at the floor; not always the three likeliest."""

    def logits(tokens: Sequence[int]) -> Floats:
        scored = toy.target_logits(tokens)
        kept = [(tokens[-1] + step) % VOCAB for step in (0, 2, 3)]
        result = np.full(VOCAB, FLOOR, dtype=np.float32)
        result[kept] = scored[kept]
        return result

    return logits


SETTINGS = {
    "plain": SamplingSettings(),
    "hot": SamplingSettings(temperature=1.7, seed=1),
    "top-k": SamplingSettings(temperature=0.8, top_k=4, seed=2),
    "top-p": SamplingSettings(top_p=0.8, seed=3),
}


def build(drafter: Callable[[ToyExecutor], DraftLogits]) -> ToyExecutor:
    toy = ToyExecutor(vocab=VOCAB, memory=1, cache_length=CHAIN_LENGTH + 10)
    toy.drafter = drafter(toy)
    return toy


CASES = [
    ("perfect", "plain"),
    ("adversarial", "plain"),
    ("unrelated", "top-k"),
    ("few candidates", "top-p"),
    ("few candidates", "hot"),
]


@pytest.mark.parametrize(("drafter", "name"), CASES)
def test_speculative_sampling_is_sampling(drafter: str, name: str) -> None:
    toy = build(few_candidates if drafter == "few candidates" else DRAFTERS[drafter])
    assert agreement(toy, SETTINGS[name]) > SIGNIFICANCE


def test_direct_sampling_passes_the_same_test() -> None:
    toy = build(DRAFTERS["perfect"])
    plain = SETTINGS["plain"]
    assert agreement(toy, plain, Fixed(0)) > SIGNIFICANCE


@pytest.mark.parametrize("name", ["plain", "top-k"])
def test_sampling_with_drafts_of_the_context_is_sampling(name: str) -> None:
    toy, context = build(DRAFTERS["perfect"]), Fixed(2, Source.LOOKUP)
    assert agreement(toy, SETTINGS[name], context) > SIGNIFICANCE
    assert Acceptance.of(speak(toy, chooser(SETTINGS[name]), context)[1], Source.LOOKUP).rate


class WrongSampler(Sampler):
    """Accepts every draft that the target might have chosen."""

    def judge(self, drafts: Sequence[int], logits: Floats, slot: int) -> tuple[int, int]:
        for index, draft in enumerate(drafts):
            if draft not in distribution(logits[index], self._settings).tokens:
                return index, self.choose(logits[index], slot + index)
        return len(drafts), self.choose(logits[len(drafts)], slot + len(drafts))


@pytest.mark.parametrize("source", Source)
def test_a_wrong_rule_fails_the_same_test(source: Source) -> None:
    toy, policy = build(DRAFTERS["unrelated"]), Fixed(2, source)
    assert agreement(toy, SETTINGS["plain"], policy, WrongSampler) < SIGNIFICANCE / 1000


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("drafter", ["perfect", "adversarial", "unrelated"])
def test_drafts_change_no_token(drafter: str, name: str) -> None:
    """The text of a seed is that of plain decoding, whatever is drafted, and however much."""
    toy, choosing = build(DRAFTERS[drafter]), chooser(SETTINGS[name])
    plain, _ = speak(toy, choosing, Fixed(0), tokens=120)
    for policy in (Fixed(1), Fixed(3), Fixed(3, Source.LOOKUP), Whims()):
        assert speak(toy, choosing, policy, tokens=120)[0] == plain


class Whims:
    """Decides by chance, as a policy does that measures time."""

    looks_up = True

    def __init__(self) -> None:
        self._random = np.random.default_rng()

    def begin(self) -> None:
        """Nothing to forget."""

    def plan(self, match: Match = NO_MATCH) -> DraftPlan:
        looked_up = match.tokens if self._random.random() < 0.5 else ()
        return DraftPlan(int(self._random.integers(4)), looked_up)

    def observe(self, done: Round) -> None:
        """Nothing to learn."""


def test_acceptance_of_a_drafter_that_is_wrong() -> None:
    """At least (1 - d) / (1 + d), at most 1 - d, by the distributions' total variation distance d."""
    rng, drafts = np.random.default_rng(0), 4000
    mine, other = rng.dirichlet(np.ones(30)), rng.dirichlet(np.ones(30))
    target, drafter = (np.log(0.7 * mine + 0.3 * each).astype(np.float32) for each in (mine, other))
    distance = np.abs(np.exp(target) - np.exp(drafter)).sum() / 2
    choosing = chooser(SamplingSettings())
    same = sum(choosing.choose(target, n) == choosing.choose(drafter, n) for n in range(drafts))
    error = 3 / math.sqrt(drafts)
    assert (1 - distance) / (1 + distance) - error < same / drafts < 1 - distance + error


def test_noise_is_gumbels() -> None:
    """Its mean is Euler's constant, its variance pi^2 / 6; neighbours have nothing in common."""
    tokens = np.arange(2000)
    rows = np.stack([noise(seed, slot, tokens) for seed in range(5) for slot in range(20)])
    assert rows.mean() == pytest.approx(np.euler_gamma, abs=0.01)
    assert rows.var() == pytest.approx(math.pi**2 / 6, abs=0.03)
    correlations = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlations).max() < 6 / math.sqrt(len(tokens))
    shifted = np.corrcoef(rows[:, 1:].ravel(), rows[:, :-1].ravel())[0, 1]
    assert abs(shifted) < 5 / math.sqrt(rows.size)


def test_a_perfect_drafter_is_always_accepted() -> None:
    _, rounds = speak(build(DRAFTERS["perfect"]), chooser(SETTINGS["top-p"]), Fixed(3), tokens=200)
    assert Acceptance.of(rounds).rate == 1.0


def test_the_seed_decides() -> None:
    def run(seed: int) -> list[int]:
        toy = build(DRAFTERS["unrelated"])
        return speak(toy, chooser(SamplingSettings(seed=seed)), TWO_DRAFTS, tokens=60)[0]

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_greedy_settings() -> None:
    assert isinstance(chooser(SamplingSettings(temperature=0)), Greedy)
    assert isinstance(chooser(SamplingSettings(top_k=1)), Greedy)
    assert isinstance(chooser(SamplingSettings()), Sampler)


def test_a_distribution_by_hand() -> None:
    logits = np.log(np.array([0.5, 0.25, 0.15, 0.1], dtype=np.float32))
    top_p = distribution(logits, SamplingSettings(top_p=0.7))
    assert top_p.tokens.tolist() == [0, 1]
    assert top_p.chances == pytest.approx([2 / 3, 1 / 3])
    top_k = distribution(logits, SamplingSettings(top_k=3, temperature=0.5))
    assert top_k.tokens.tolist() == [0, 1, 2]
    assert top_k.chances == pytest.approx(np.array([0.25, 0.0625, 0.0225]) / 0.335)
    floored = np.array([FLOOR, 1.0, FLOOR, 1.0], dtype=np.float32)
    hot = distribution(floored, SamplingSettings(temperature=1e5))
    assert hot.tokens.tolist() == [1, 3]
    cold = distribution(logits * 100, SamplingSettings(temperature=1e-310))
    assert cold.chances.tolist() == [1, 0, 0, 0]
