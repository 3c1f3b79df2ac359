"""Adaptive drafting, by simulation: never much slower than the better of always and never drafting.

A simulated text says for each token how likely a draft of it is right. Whether it is right is drawn
once per token, so that all policies meet the same luck, and times vary by a tenth.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from runtime_py.loop.adaptive import Adaptive
from runtime_py.loop.observed import Times
from runtime_py.loop.rounds import Round
from runtime_py.loop.speculative import DraftPolicy, Fixed

DRAFTS = 3
TOKENS = 1500
SEEDS = range(4)
WORST = 1.05
WORST_TURN = 1.15
"""Of an answer by itself, when every draft of the one before it was right: at most 1.12 here, and 1.28 where
the next answer takes over all that was learnt."""

CHANCES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHORT_SEEDS = 12
"""Whether the first draft is right decides much in a short text; this many are averaged."""

Text = Callable[[int], float]
"""How likely a draft of the token with this index is right."""

TEXTS: dict[str, Text] = {
    "predictable": lambda token: 0.9,
    "fair": lambda token: 0.75,
    "middling": lambda token: 0.5,
    "hopeless": lambda token: 0.0,
    "paragraphs": lambda token: 0.9 if token // 150 % 2 else 0.1,
    "sentences": lambda token: 0.9 if token // 40 % 2 else 0.1,
    "good at the end": lambda token: 0.0 if token < TOKENS // 2 else 0.9,
    "bad at the end": lambda token: 0.9 if token < TOKENS // 2 else 0.0,
}

COSTS = {  # seconds of a decode, a verify, a draft step
    "E2B on two cores": (0.042, 0.102, 0.0033),
    "E2B on two cores with AVX-512": (0.053, 0.080, 0.0037),
    "verify nearly free": (0.010, 0.012, 0.0005),
    "slow drafter": (0.010, 0.011, 0.003),
    "GPU where drafting costs too much": (0.064, 0.080, 0.030),
    "tiny model, calls cost all": (0.0013, 0.0035, 0.001),
    "block-wise weights": (0.040, 0.130, 0.010),
}


@cache
def drawn(seed: int, part: int, count: int) -> list[float]:
    """Numbers in [0, 1) that every policy meets."""
    numbers: list[float] = np.random.default_rng([seed, part]).random(count).tolist()
    return numbers


def seconds(
    policy: DraftPolicy,
    text: Text,
    cost: tuple[float, float, float],
    seed: int,
    tokens: int = TOKENS,
) -> float:
    """How long ``tokens`` tokens take."""
    decode, verify, draft = cost
    right = [luck < text(token) for token, luck in enumerate(drawn(seed, 0, tokens + DRAFTS))]
    noise = iter(drawn(seed, 1, tokens))
    spent, done = 0.0, 0
    policy.begin()
    while done < tokens:
        drafts = min(policy.plan().drafts if done else 0, tokens - done - 1)
        factor = 1 + 0.2 * next(noise)
        if drafts:
            accepted = 0
            while accepted < drafts and right[done + accepted]:
                accepted += 1
            times = drafts * draft * factor, verify * factor
        else:
            accepted, times = 0, (0.0, decode * factor)
        round_ = Round((0,) * (accepted + 1), (0,) * (accepted + 1), drafts, accepted, *times)
        policy.observe(round_)
        spent += round_.seconds
        done += len(round_.tokens)
    return spent


def total(policy: Callable[[], DraftPolicy], text: str, cost: str) -> float:
    return sum(seconds(policy(), TEXTS[text], COSTS[cost], seed) for seed in SEEDS)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("text", TEXTS)
def test_auto_is_never_much_slower_than_the_better_choice(text: str, cost: str) -> None:
    always = total(lambda: Fixed(DRAFTS), text, cost)
    never = total(lambda: Fixed(0), text, cost)
    auto = total(lambda: Adaptive(DRAFTS), text, cost)
    assert auto <= WORST * min(always, never), f"{auto / min(always, never):.3f}"


@pytest.mark.parametrize(
    ("seconds", "typical"),
    [([9], 9), ([9, 2], 2), ([9, 2, 3, 4], 3), ([2, 40], 21), ([2, 40, 3], 3)],
)
def test_the_first_call_does_not_count_unless_the_second_was_held_up(
    seconds: list[float], typical: float
) -> None:
    times = Times()
    for each in seconds:
        times.add(each)
    assert times.typical == typical


def test_auto_can_beat_both() -> None:
    """Where unpredictable text is followed by predictable, neither always nor never is best."""
    text, cost = "good at the end", "E2B on two cores with AVX-512"
    others = (total(lambda: Fixed(DRAFTS), text, cost), total(lambda: Fixed(0), text, cost))
    assert total(lambda: Adaptive(DRAFTS), text, cost) < 0.85 * min(others)


@pytest.mark.parametrize("cost", COSTS)
def test_an_answer_of_another_kind(cost: str) -> None:
    """What the answer before taught must not cost the next one, of which every draft is wrong, much."""
    spent = {"auto": 0.0, "never": 0.0}
    for seed in range(SHORT_SEEDS):
        policy = Adaptive(DRAFTS)
        seconds(policy, lambda token: 1.0, COSTS[cost], seed, 96)
        spent["auto"] += seconds(policy, lambda token: 0.0, COSTS[cost], seed, 96)
        spent["never"] += seconds(Fixed(0), lambda token: 0.0, COSTS[cost], seed, 96)
    assert spent["auto"] <= WORST_TURN * spent["never"]


def always_as_likely(chance: float) -> Callable[[int], Text]:
    return lambda session: lambda token: chance


SHORT_TEXTS: dict[str, Callable[[int], Text]] = {
    **{f"all {chance}": always_as_likely(chance) for chance in CHANCES},
    "every other": lambda session: lambda token: 0.9 if session % 2 else 0.1,
    "good later": lambda session: lambda token: 0.9 if session >= 2 else 0.0,
    "bad later": lambda session: lambda token: 0.0 if session >= 2 else 0.9,
    "sentences": lambda session: TEXTS["sentences"],
}
"""Texts by the number of the session."""


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize(("sessions", "tokens"), [(2, 64), (1, 128), (1, 256), (4, 96), (3, 200)])
def test_short_sessions(sessions: int, tokens: int, cost: str) -> None:
    """From 128 tokens on, through one opened model, what it takes to learn is within the promise."""

    def workload(policy: Callable[[], DraftPolicy], text: Callable[[int], Text]) -> float:
        spent = 0.0
        for seed in range(SHORT_SEEDS):
            shared = policy()
            for session in range(sessions):
                luck = 100 * seed + session
                spent += seconds(shared, text(session), COSTS[cost], luck, tokens)
        return spent

    for name, text in SHORT_TEXTS.items():
        always = workload(lambda: Fixed(DRAFTS), text)
        never = workload(lambda: Fixed(0), text)
        ratio = workload(lambda: Adaptive(DRAFTS), text) / min(always, never)
        assert ratio <= WORST, f"{name}: {ratio:.3f}"


def taught(accepted: int, cost: tuple[float, float, float], rounds: int = 40) -> Adaptive:
    """A policy that has seen decodes, and full drafts of which ``accepted`` were accepted."""
    decode, verify, draft = cost
    policy = Adaptive(DRAFTS)
    for _ in range(5):
        policy.observe(Round((0,), (0,), 0, 0, 0.0, decode))
    for _ in range(rounds):
        tokens = (0,) * (accepted + 1)
        policy.observe(Round(tokens, tokens, DRAFTS, accepted, DRAFTS * draft, verify))
    return policy


def test_a_full_draft_in_one_call_has_a_cost_of_its_own() -> None:
    """Steps that cost 10 ms each, or all three in one call of 12 ms."""
    policy = taught(3, (0.04, 0.1, 0.004), rounds=400)
    for _ in range(5):
        policy.observe(Round((0, 0), (0, 0), 1, 1, 0.010, 0.1))
    assert policy.rate(3) == pytest.approx(4 / 0.112, rel=0.03)
    assert policy.rate(1) == pytest.approx(2 / 0.11, rel=0.03)
    assert policy.rate(2) == pytest.approx(3 / 0.12, rel=0.03)


def first_lengths(policy: Adaptive, accepted: int, verify: float, rounds: int) -> list[int]:
    """What it chooses where a decode takes 10 ms, a draft step 1 ms and the first of a kind ten times that.

    Args:
        policy: To be asked.
        accepted: Of each draft, at most.
        verify: Seconds.
        rounds: How many.
    """
    lengths: list[int] = []
    for _ in range(rounds):
        drafts = policy.plan().drafts
        cold = 1.0 if drafts in lengths else 10.0
        tokens = (0,) * (min(accepted, drafts) + 1)
        times = (drafts * 0.001, verify * cold) if drafts else (0.0, 0.01 * cold)
        policy.observe(Round(tokens, tokens, drafts, len(tokens) - 1, *times))
        lengths.append(drafts)
    return lengths


def test_a_session_begins_by_measuring() -> None:
    """Two decodes, the first of which does not count, and a full draft."""
    assert first_lengths(Adaptive(DRAFTS), 0, 0.03, 20) == [0, 0, DRAFTS, *[0] * 17]


def test_a_cold_start_is_not_held_against_drafting() -> None:
    """The first call of a kind allocates; drafts that were accepted are worth a second one at once."""
    assert first_lengths(Adaptive(DRAFTS), DRAFTS, 0.02, 6) == [0, 0, *[DRAFTS] * 4]


def test_what_can_never_pay_is_given_up_after_two_rounds() -> None:
    lengths = first_lengths(Adaptive(DRAFTS), DRAFTS, 0.09, 150)
    assert lengths[:4] == [0, 0, DRAFTS, DRAFTS]
    assert not any(lengths[4:])


def test_a_trial_is_short_until_it_goes_well() -> None:
    """While drafts are wrong one is tried at a time; the first that is right is followed by more."""
    cost = COSTS["E2B on two cores"]
    policy = taught(0, cost)
    lengths: list[int] = []
    for _ in range(280):
        drafts = policy.plan().drafts
        accepted = drafts if len(lengths) > 200 else 0
        lengths.append(drafts)
        tokens, times = (0,) * (accepted + 1), (drafts * cost[2], cost[1])
        policy.observe(
            Round(tokens, tokens, drafts, accepted, *(times if drafts else (0.0, cost[0])))
        )
    assert set(lengths[:200]) == {0, 1}
    begun = next(index for index, drafts in enumerate(lengths) if drafts == DRAFTS)
    assert lengths[begun - 1] == 1
    assert lengths[begun:] == [DRAFTS] * (len(lengths) - begun)


def test_the_length_follows_acceptance_and_cost() -> None:
    assert taught(3, (0.042, 0.102, 0.0033)).plan().drafts == 3
    assert taught(0, (0.042, 0.102, 0.0033)).best_length() == 0
    assert taught(1, (0.010, 0.011, 0.003)).best_length() == 1  # later drafts are never accepted
    assert taught(3, (0.010, 0.100, 0.001)).best_length() == 0  # not even full acceptance pays


def test_rates_are_tokens_a_second() -> None:
    policy = taught(3, (0.04, 0.1, 0.01), rounds=400)
    assert policy.rate(0) == pytest.approx(1 / 0.04)
    assert policy.rate(3) == pytest.approx(4 / 0.13, rel=0.03)


def test_without_a_drafter_nothing_is_drafted() -> None:
    policy = Adaptive(0)
    for _ in range(10):
        assert policy.plan().drafts == 0
        policy.observe(Round((0,), (0,), 0, 0, 0.0, 0.01))
