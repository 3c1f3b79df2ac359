"""Paired gains: against numbers known from elsewhere, and how often they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime_py.bench.paired import Count, estimate, paired_gain


def ones(*amounts: float) -> list[Count]:
    """With equal bases the ratio is a mean."""
    return [Count(amount, 1.0) for amount in amounts]


def test_equal_bases_give_the_paired_test_of_textbooks() -> None:
    """Differences 1, 2, 1, 2, 1, 2: mean 1.5, standard deviation 0.5477, by the root of 6: 0.2236."""
    gain = paired_gain(ones(1, 2, 3, 4, 5, 6), ones(2, 4, 4, 6, 6, 8))
    assert (gain.before, gain.after, gain.difference) == (3.5, 5.0, 1.5)
    assert gain.error == pytest.approx(math.sqrt(0.05))
    assert gain.beyond_noise


def test_prompts_weigh_by_their_base() -> None:
    """30 tokens in 10 rounds and 10 in 10 are 2 a round; residuals are 10 and -10 by 20 rounds."""
    found = estimate([Count(30, 10), Count(10, 10)])
    assert found.value == 2.0
    assert found.error == pytest.approx(math.sqrt(2 * (0.5**2 + 0.5**2)))
    assert estimate([Count(30, 10), Count(10, 30)]).value == 1.0


def test_what_all_prompts_share_is_no_noise() -> None:
    """Prompts that differ much from each other, one side 1.5 times the other on all."""
    before = [Count(tokens, 10) for tokens in (11, 39, 20, 35, 12, 28, 18)]
    gain = paired_gain(before, [Count(1.5 * count.amount, 10) for count in before])
    assert gain.ratio == pytest.approx(1.5)
    assert gain.ratio_error == pytest.approx(0, abs=1e-12)


def test_the_error_of_a_ratio_is_the_jackknife_s() -> None:
    rng = np.random.default_rng(1)
    before = [Count(float(a), float(b)) for a, b in rng.uniform(50, 100, (200, 2))]
    after = [Count(float(a) * 1.2, float(b)) for a, b in rng.uniform(50, 100, (200, 2))]
    without = [
        paired_gain(before[:i] + before[i + 1 :], after[:i] + after[i + 1 :]).ratio or 0.0
        for i in range(200)
    ]
    jackknife = math.sqrt(199 * np.var(without))
    assert paired_gain(before, after).ratio_error == pytest.approx(jackknife, rel=0.02)


@pytest.mark.parametrize(
    ("before", "after", "beyond"),
    [
        (ones(1, 1, 1, 1, 1, 1), ones(1, 1, 1, 1, 1, 1), False),  # the same everywhere
        (ones(0, 0, 0, 0, 0, 0), ones(1, 1, 1, 1, 1, 1), True),
        (ones(1, 1, 1, 1, 1), ones(2, 2, 2, 2, 2), False),  # five prompts
        (ones(1), ones(9), False),
        ([], [], False),
        (ones(0, 4, 0, 4, 0, 4), ones(4, 0, 4, 0, 4, 1), False),
    ],
)
def test_what_is_beyond_noise(before: list[Count], after: list[Count], beyond: bool) -> None:
    assert paired_gain(before, after).beyond_noise is beyond


def test_prompts_without_a_base_are_left_out() -> None:
    gain = paired_gain([Count(0, 0), *ones(1, 2)], [Count(5, 1), *ones(3, 4)])
    assert (gain.difference, gain.prompts) == (2.0, 2)
    assert paired_gain(ones(0, 0), ones(1, 1)).ratio is None
    assert estimate([Count(0, 0)]).value == 0.0


def test_rounds_of_a_prompt_are_no_sample_of_their_own() -> None:
    """Two drafters that are equally good on average, each luckier with some prompts: 20 prompts of 40 rounds.

    Taking every round for a sample would find a difference in half of these experiments.
    """
    rng, trials, prompts, rounds = np.random.default_rng(0), 400, 20, 40
    found = naive = 0
    for _ in range(trials):
        chance = rng.beta(2, 2, (2, prompts))
        accepted = rng.binomial(rounds, chance)
        sides = [[Count(float(one), rounds) for one in side] for side in accepted]
        gain = paired_gain(*sides)
        found += gain.beyond_noise
        share = accepted.mean() / rounds
        naive += abs(gain.difference) > 2 * math.sqrt(2 * share * (1 - share) / prompts / rounds)
    assert found / trials < 0.09  # expected: 0.06, with a standard deviation of 0.012
    assert naive / trials > 0.4
