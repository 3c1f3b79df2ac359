"""What one call of each kind costs, measured on real text.

Every call is made where the speculative loop would make it: the prompt is prefilled, then each round
decodes the pending token, drafts from the hidden state before it and verifies the drafts, all at the
same position. So the tokens are the model's own, and the three costs come from the same seconds.
Choosing a token (a pass over V logits) is part of a decode, a draft step and a verify, as in the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from runtime_py.loop.executor import CacheT, Executor
from runtime_py.loop.rounds import Cursor
from runtime_py.loop.speculative import Clock, Greedy, Proposal

WARM_UP = 2
"""Rounds that are not counted: LiteRT allocates in the first calls of each kind."""

GREEDY = Greedy()


@dataclass(frozen=True)
class Timing:
    """Seconds of one kind of call: the median, the quartiles around it, and of how many calls."""

    median: float
    low: float
    high: float
    count: int

    @staticmethod
    def of(seconds: Sequence[float]) -> Timing | None:
        """Summarise; None if nothing was measured."""
        if len(seconds) < 2:
            return Timing(seconds[0], seconds[0], seconds[0], 1) if seconds else None
        low, middle, high = quantiles(seconds, n=4, method="inclusive")
        return Timing(middle, low, high, len(seconds))


@dataclass(frozen=True)
class Costs:
    """Times of the calls that a generation is made of; ``verify`` and ``draft`` need a drafter."""

    prefill: dict[int, Timing]
    """By the signature's length T, which is also the number of tokens given."""
    decode: Timing
    verify: Timing | None
    """Of G + 1 tokens, the only number the bundle's ``verify`` takes."""
    draft: Timing | None
    lookup: Timing | None
    """Both embedding lookups of one token; part of the others."""
    choose: Timing
    """Finding the largest of V logits; part of the others."""
    draft_round: Timing | None = None
    """All G drafts in one call."""
    draft_round_share: float | None = None
    """Its time by that of G draft steps just before it: the median over the rounds."""

    @staticmethod
    def from_json(value: dict[str, Any]) -> Costs:
        """Read back what ``asdict`` and JSON made of one."""
        prefill = {int(length): Timing(**found) for length, found in value["prefill"].items()}
        others: dict[str, Any] = {
            name: Timing(**found) if isinstance(found, dict) else found
            for name, found in value.items()
            if name != "prefill"
        }
        return Costs(prefill, **others)


@dataclass(frozen=True)
class Work:
    """What to measure on: the tokens of a prompt (two or more), and how often."""

    tokens: tuple[int, ...]
    prefill_lengths: tuple[int, ...]
    rounds: int
    prefills: int


@dataclass
class Samples:
    """Seconds of single calls."""

    decode: list[float] = field(default_factory=list)
    verify: list[float] = field(default_factory=list)
    draft: list[float] = field(default_factory=list)
    choose: list[float] = field(default_factory=list)
    draft_round: list[float] = field(default_factory=list)
    draft_round_share: list[float] = field(default_factory=list)


def measure_costs(
    executor: Executor[CacheT],
    work: Work,
    look_up: Callable[[int], None] | None = None,
    clock: Clock = time.perf_counter,
) -> Costs:
    """Measure every kind of call.

    Args:
        executor: With or without a drafter.
        work: The text is repeated to fill the longest prefill.
        look_up: The embedding lookups of one token, to be timed by themselves.
        clock: Seconds.
    """
    prefill = {length: _prefill(executor, work, length, clock) for length in work.prefill_lengths}
    samples = measure_rounds(executor, work, clock)
    lookups = []
    for token in work.tokens if look_up else ():
        assert look_up is not None
        begun = clock()
        look_up(token)
        lookups.append(clock() - begun)
    decode, choose = Timing.of(samples.decode), Timing.of(samples.choose)
    assert decode is not None
    assert choose is not None
    return Costs(
        prefill,
        decode,
        Timing.of(samples.verify),
        Timing.of(samples.draft),
        Timing.of(lookups),
        choose,
        Timing.of(samples.draft_round),
        median(samples.draft_round_share) if samples.draft_round_share else None,
    )


def _prefill(executor: Executor[CacheT], work: Work, length: int, clock: Clock) -> Timing:
    """A full prefill of ``length`` tokens; the first one is not counted."""
    cache = executor.new_cache()
    text = (work.tokens * (1 + length // len(work.tokens)))[:length]
    seconds = []
    for _ in range(work.prefills + 1):
        begun = clock()
        executor.prefill(cache, text, 0)
        seconds.append(clock() - begun)
    timing = Timing.of(seconds[1:])
    assert timing is not None
    return timing


def measure_rounds(executor: Executor[CacheT], work: Work, clock: Clock) -> Samples:
    """Rounds of a decode, G drafts (step by step, then in one call) and a verify.

    Back to the prompt where the cache is full.
    """
    samples, cache = Samples(), executor.new_cache()
    slots = executor.draft_length + 1
    cursor = _start(executor, cache, work.tokens)
    for index in range(WARM_UP + work.rounds):
        if cursor.position + slots > executor.cache_length:
            cursor = _start(executor, cache, work.tokens)
        kept = samples if index >= WARM_UP else Samples()
        cursor = _round(executor, cache, cursor, kept, clock)
    return samples


def _start(executor: Executor[CacheT], cache: CacheT, tokens: Sequence[int]) -> Cursor:
    """After the prompt, with a hidden state to draft from."""
    last = len(tokens) - 1
    executor.prefill(cache, tokens[:last], 0)
    step = executor.decode(cache, tokens[last], last)
    return Cursor(last + 1, GREEDY.choose(step.logits[0]), step.hidden[0].copy())


def _round(
    executor: Executor[CacheT], cache: CacheT, cursor: Cursor, samples: Samples, clock: Clock
) -> Cursor:
    begun = clock()
    step = executor.decode(cache, cursor.pending, cursor.position)
    said = clock()
    token = GREEDY.choose(step.logits[0])
    chosen = clock()
    samples.decode.append(chosen - begun)
    samples.choose.append(chosen - said)
    if not executor.draft_length:
        return Cursor(cursor.position + 1, token, step.hidden[0].copy())
    proposals = _draft(executor, cache, cursor, samples, clock)
    begun = clock()
    tokens = [cursor.pending, *(proposal.token for proposal in proposals)]
    step = executor.verify(cache, tokens, cursor.position)
    accepted, following = GREEDY.judge(proposals, step.logits)
    samples.verify.append(clock() - begun)
    return Cursor(cursor.position + accepted + 1, following, step.hidden[accepted].copy())


def _draft(
    executor: Executor[CacheT], cache: CacheT, cursor: Cursor, samples: Samples, clock: Clock
) -> list[Proposal]:
    assert cursor.hidden is not None
    token, hidden = cursor.pending, cursor.hidden
    proposals: list[Proposal] = []
    started = clock()
    for _ in range(executor.draft_length):
        begun = clock()
        draft = executor.draft(cache, token, hidden, cursor.position - 1)
        proposals.append(GREEDY.propose(draft.logits))
        samples.draft.append(clock() - begun)
        token, hidden = proposals[-1].token, draft.projected
    if executor.drafts_at_once:
        stepped = clock()
        executor.draft_round(cache, cursor.pending, cursor.hidden, cursor.position - 1)
        samples.draft_round.append(clock() - stepped)
        samples.draft_round_share.append(samples.draft_round[-1] / (stepped - started))
    return proposals
