"""What one call of each kind costs, measured on real text.

The speculative loop itself goes on from a prompt: some rounds by decoding, some by drafting step by
step, some by drafting in one call where that can be, and so on in turn. So the tokens are the model's
own, all costs come from the same seconds, and mostly a call follows what it follows in an answer.
Choosing a token (a pass over V logits) is part of a decode, a draft step and a verify, as in the loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median, quantiles

from runtime_py.bench.curve import Known, chances
from runtime_py.bench.timed_executor import CallKind, TimedCall, TimedChooser, TimedExecutor
from runtime_py.loop.executor import CacheT, Executor
from runtime_py.loop.lookup import NO_MATCH, Match
from runtime_py.loop.rounds import Acceptance, Cursor, Limits, Round
from runtime_py.loop.speculative import Clock, DraftPlan, Greedy, Speaker, generate

IN_A_ROW = 4
"""Rounds made one way before the next way has its turn.

Where a model is small it matters what was in the processor's caches: a decode after a verify of the tiny
pair takes a third longer than one after a decode.
"""


ROUNDS = 24
"""Of each kind, which is enough for a median."""


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
    """Its time by that of G draft steps, four rounds before: the median over the rounds."""
    round_cost: tuple[float, float] | None = None
    """Quartiles of what a round of G drafts takes, in decodes of the same turn."""

    def known(self, drafts: int, acceptance: Acceptance) -> Known | None:
        """What draft lengths can be compared by, beside what was accepted; None where nothing was drafted.

        ``drafts`` is G.
        """
        if not acceptance.drafted or not self.verify or not self.draft:
            return None
        seconds = (self.decode.median, self.draft.median, self.verify.median)
        at_once = self.draft_round.median if self.draft_round else None
        return Known(drafts, *seconds, chances(acceptance), at_once, self.round_cost)


@dataclass(frozen=True)
class Work:
    """What to measure on: the tokens of a prompt (two or more), and how often.

    The prompt is cut where the cache has not enough slots behind it.
    """

    tokens: tuple[int, ...]
    prefill_lengths: tuple[int, ...]
    rounds: int
    """At least so many of each kind: decodes, drafts step by step, drafts in one call."""
    prefills: int


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
    timed = TimedExecutor(executor, clock)
    prefill = {length: _prefill(timed, work, length) for length in work.prefill_lengths}
    calls = list(_calls(timed, work, clock))
    drafts, at_once = _totals(calls, "draft"), _totals(calls, "draft_round")
    steps = zip(*[iter(drafts)] * executor.draft_length, strict=False)  # those of each round
    shares = [whole / sum(each) for whole, each in zip(at_once, steps, strict=False)]
    decode = Timing.of(_totals(calls, "decode"))
    choose = Timing.of([call.choosing for call in calls if call.kind == "decode"])
    assert decode is not None
    assert choose is not None
    return Costs(
        prefill,
        decode,
        Timing.of(_totals(calls, "verify")),
        Timing.of(drafts),
        Timing.of([_seconds(look_up, token, clock) for token in work.tokens]) if look_up else None,
        choose,
        Timing.of(at_once),
        median(shares) if shares else None,
        _round_cost(calls, executor.draft_length) if drafts else None,
    )


def _round_cost(calls: Sequence[TimedCall], length: int) -> tuple[float, float]:
    """Within turns, for a machine that becomes slower makes both slower."""
    turns, before = list[list[TimedCall]](), ""
    for call in calls:
        if call.kind == "decode" and before != "decode":  # a turn begins with decodes
            turns.append([])
        turns[-1].append(call)
        before = call.kind
    found = [_in_decodes(turn, length) for turn in turns]
    timing = Timing.of(found)
    assert timing is not None
    return timing.low, timing.high


def _in_decodes(turn: Sequence[TimedCall], length: int) -> float:
    decode, verify = median(_totals(turn, "decode")), median(_totals(turn, "verify"))
    at_once = _totals(turn, "draft_round")
    drafting = median(at_once) if at_once else length * median(_totals(turn, "draft"))
    return (drafting + verify) / decode


def _totals(calls: Sequence[TimedCall], kind: CallKind) -> list[float]:
    return [call.total for call in calls if call.kind == kind]


def _seconds(look_up: Callable[[int], None], token: int, clock: Clock) -> float:
    begun = clock()
    look_up(token)
    return clock() - begun


def _prefill(executor: TimedExecutor[CacheT], work: Work, length: int) -> Timing:
    """A full prefill of ``length`` tokens; the first one is not counted."""
    cache = executor.new_cache()
    text = (work.tokens * (1 + length // len(work.tokens)))[:length]
    for _ in range(work.prefills + 1):
        executor.prefill(cache, text, 0)
    timing = Timing.of([call.seconds for call in executor.calls[-work.prefills :]])
    assert timing is not None
    return timing


class InTurn:
    """A :class:`~runtime_py.loop.speculative.DraftPolicy`: some rounds each way, again and again."""

    looks_up = False

    def __init__(self, executor: TimedExecutor[CacheT]) -> None:
        longest = executor.draft_length
        ways = [(0, False), (longest, True), (longest, False)]  # drafts, stepwise
        ways = ways[: 1 + bool(longest) + bool(executor.drafts_at_once)]
        slots = sum(drafts + 1 for drafts, _ in ways)
        self.in_a_row = max(1, min(IN_A_ROW, (executor.cache_length - 2) // slots))
        self.rounds = self.in_a_row * len(ways)
        self.most_slots = self.in_a_row * slots
        self._next = cycle([way for way in ways for _ in range(self.in_a_row)])
        self._executor = executor

    def begin(self) -> None:
        """Nothing to forget."""

    def plan(self, match: Match = NO_MATCH) -> DraftPlan:
        drafts, self._executor.stepwise = next(self._next)
        return DraftPlan(drafts)

    def observe(self, done: Round) -> None:
        """Nothing to learn."""


def _calls(executor: TimedExecutor[CacheT], work: Work, clock: Clock) -> Iterator[TimedCall]:
    """What the loop called in each turn but the first; back to the prompt where the cache is full."""
    policy = InTurn(executor)
    count = 1 + math.ceil(work.rounds / policy.in_a_row)
    prompt = work.tokens[: max(2, executor.cache_length - count * policy.most_slots)]
    speaker = Speaker(executor, executor.new_cache(), TimedChooser(Greedy(), executor.calls, clock))
    start = Cursor(len(prompt) - 1, prompt[-1])
    endless = 2 * executor.cache_length  # tokens: the cache is full before
    limits = Limits(endless, frozenset(), executor.cache_length)
    fitting = max(1, (executor.cache_length - start.position) // policy.most_slots)
    for turn in range(count):
        if turn % fitting == 0:
            executor.prefill(speaker.cache, prompt[:-1], 0)
            rounds = generate(speaker, start, limits, policy)
        executor.calls.clear()
        for _ in range(policy.rounds):
            next(rounds)
        if turn:  # LiteRT allocates in the first calls of each kind
            yield from executor.calls
