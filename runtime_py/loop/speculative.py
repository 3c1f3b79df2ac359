"""Speculative decoding as a pure loop over an executor: no torch, no LiteRT, no tokenizer.

A round drafts k tokens, verifies them with the pending token in one call and keeps the longest prefix
the chooser accepts, plus one token of the target's own. The tokens are those of plain decoding with the
same chooser, whatever is drafted. Drafts are the drafter's or the context's.

Source: Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", 2023, algorithm 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol

import numpy as np

from runtime_py.loop.drafting import DraftChain
from runtime_py.loop.executor import CacheT, DraftFeed, Executor, Floats, TargetOutput
from runtime_py.loop.lookup import NO_MATCH, Match, PromptLookup
from runtime_py.loop.rounds import Cursor, Finish, Limits, Round, Rounds, Source

Clock = Callable[[], float]


class Chooser(Protocol):
    """How tokens are chosen from logits: greedily, or by sampling.

    A choice depends on the logits and on the slot that the token is for, and on nothing that was chosen
    before. So it does not matter what was drafted.
    """

    @property
    def greedy(self) -> bool:
        """Whether what is proposed is always the likeliest token."""

    def choose(self, logits: Floats, slot: int) -> int:
        """The token for a slot, from logits ``[V]`` of the target or of the drafter."""

    def judge(self, drafts: Sequence[int], logits: Floats, slot: int) -> tuple[int, int]:
        """How many drafts to accept, and the token after them.

        ``logits`` ``[k + 1, V]`` are the target's; row i is what it says for the slot ``slot + i``, which
        draft i is for.
        """


def longest_agreed(
    choose: Callable[[Floats, int], int], drafts: Sequence[int], logits: Floats, slot: int
) -> tuple[int, int]:
    """Accept drafts as far as they are what ``choose`` chooses; see :meth:`Chooser.judge`."""
    for index, draft in enumerate(drafts):
        token = choose(logits[index], slot + index)
        if token != draft:
            return index, token
    return len(drafts), choose(logits[len(drafts)], slot + len(drafts))


class Greedy:
    """Always the likeliest token; of equals, the one with the smallest id.

    Args:
        suppressed: Tokens that are never chosen. A draft may be one of them: it is rejected then.
    """

    greedy = True

    def __init__(self, suppressed: Collection[int] = ()) -> None:
        self._suppressed = sorted(suppressed)

    def choose(self, logits: Floats, slot: int) -> int:
        best = int(logits.argmax())
        if best in self._suppressed:  # seldom: only then are the logits copied
            allowed = logits.copy()
            allowed[self._suppressed] = -np.inf
            best = int(allowed.argmax())
        return best

    def judge(self, drafts: Sequence[int], logits: Floats, slot: int) -> tuple[int, int]:
        return longest_agreed(self.choose, drafts, logits, slot)


@dataclass(frozen=True)
class DraftPlan:
    """What to draft in a round: ``looked_up`` if there is any, else so many tokens by the drafter."""

    drafts: int = 0
    looked_up: tuple[int, ...] = ()


class DraftPolicy(Protocol):
    """What to draft in a round."""

    @property
    def looks_up(self) -> bool:
        """Whether it wants to be shown matches."""

    def begin(self) -> None:
        """Another answer begins; not told where several run together."""

    def plan(self, match: Match = NO_MATCH) -> DraftPlan:
        """What is wanted in the next round, where ``match`` could be drafted; the loop may do with less."""

    def observe(self, done: Round) -> None:
        """Learn from a round."""


@dataclass(frozen=True)
class Fixed:
    """As many drafts in every round, or as many as the context offers; 0 is plain decoding."""

    drafts: int
    source: Source = Source.DRAFTER

    @property
    def looks_up(self) -> bool:
        return self.source is Source.LOOKUP and self.drafts > 0

    def begin(self) -> None:
        """Nothing to forget."""

    def plan(self, match: Match = NO_MATCH) -> DraftPlan:
        if self.looks_up:
            return DraftPlan(looked_up=match.tokens[: self.drafts])
        return DraftPlan(self.drafts)

    def observe(self, done: Round) -> None:
        """Nothing to learn."""


def generate(
    speaker: Speaker[CacheT],
    start: Cursor,
    limits: Limits,
    policy: DraftPolicy,
    context: Sequence[int] = (),
) -> Rounds:
    """Decode from ``start`` on, never more than ``limits.max_new_tokens`` tokens.

    A round near the end of the context that a verify would overrun is a plain decode. ``context`` are the
    tokens before ``start``, where drafts are looked up; negative ones stand for what is no token.
    """
    policy.begin()
    cursor, produced, longest = start, 0, speaker.executor.draft_length
    lookup = PromptLookup((*context, start.pending), longest) if policy.looks_up else None
    while produced < limits.max_new_tokens:
        if cursor.position >= limits.context_length:
            return Finish.CONTEXT
        plan = policy.plan(lookup.match() if lookup else NO_MATCH)
        drafts = possible_drafts(plan.drafts, cursor, limits, produced, longest)
        looked_up = plan.looked_up[: most_drafts(cursor, limits, produced, longest)]
        done, cursor = speaker.round(cursor, DraftPlan(drafts, looked_up))
        policy.observe(done)
        kept = until_stop(done, limits.stop_tokens)
        produced += len(kept.tokens)
        yield kept
        if lookup:
            lookup.extend(kept.tokens)
        if kept.tokens[-1] in limits.stop_tokens:
            return Finish.STOP
    return Finish.LENGTH


def verify_fits(cursor: Cursor, limits: Limits, draft_length: int) -> bool:
    """Whether a verify, which always writes G + 1 slots, stays inside the context."""
    return cursor.position + draft_length + 1 <= limits.context_length


def possible_drafts(
    wanted: int, cursor: Cursor, limits: Limits, produced: int, draft_length: int
) -> int:
    """How many of the drafts ``wanted`` the drafter can make for a round, after ``produced`` tokens."""
    if cursor.hidden is None:
        return 0
    return min(wanted, most_drafts(cursor, limits, produced, draft_length))


def most_drafts(cursor: Cursor, limits: Limits, produced: int, draft_length: int) -> int:
    """How many drafts a round can use, wherever they are from."""
    if not verify_fits(cursor, limits, draft_length):
        return 0
    return max(0, min(draft_length, limits.max_new_tokens - produced - 1))


def first_feed(cache: CacheT, cursor: Cursor) -> DraftFeed[CacheT]:
    """What the first draft of a round is made from; the hidden state must be known."""
    assert cursor.hidden is not None
    return DraftFeed(cache, cursor.pending, cursor.hidden, cursor.position - 1)


def until_stop(done: Round, stop_tokens: frozenset[int]) -> Round:
    """The round up to its first stop token.

    The accepted drafts are in the cache behind the pending token. A stop token among them leaves the
    later ones uncommitted: with ``p | a STOP c | d`` (pending, accepted, the target's own) ``a STOP``
    is emitted and ``p a STOP`` is committed.
    """
    for index, token in enumerate(done.tokens):
        if token in stop_tokens:
            emitted = done.tokens[: index + 1]
            return replace(done, tokens=emitted, committed=done.committed[: 1 + len(emitted)])
    return done


def settle(
    chooser: Chooser,
    cursor: Cursor,
    drafts: Sequence[int],
    step: TargetOutput,
    seconds: tuple[float, float],
    source: Source = Source.DRAFTER,
) -> tuple[Round, Cursor]:
    """Accept what the target agrees with; without drafts this is a decode.

    ``step`` is what the target says after the pending token and each draft; ``seconds`` are those of
    drafting and in the target.
    """
    accepted, following = chooser.judge(drafts, step.logits, cursor.position + 1)
    committed = (cursor.pending, *drafts[:accepted])
    emitted = (*committed[1:], following)
    done = Round(emitted, committed, len(drafts), accepted, *seconds, source)
    hidden = step.hidden[accepted].copy()
    return done, Cursor(cursor.position + accepted + 1, following, hidden)


@dataclass(frozen=True)
class Speaker(Generic[CacheT]):
    """A model with the cache of one sequence and a way to choose tokens."""

    executor: Executor[CacheT]
    cache: CacheT
    chooser: Chooser
    clock: Clock = time.perf_counter

    def round(self, cursor: Cursor, plan: DraftPlan) -> tuple[Round, Cursor]:
        """Emit at least one token; returns where the sequence stands afterwards."""
        if plan.drafts or plan.looked_up:
            return self._speculate(cursor, plan)
        return self._decode(cursor)

    def _decode(self, cursor: Cursor) -> tuple[Round, Cursor]:
        begun = self.clock()
        step = self.executor.decode(self.cache, cursor.pending, cursor.position)
        return settle(self.chooser, cursor, [], step, (0.0, self.clock() - begun))

    def _speculate(self, cursor: Cursor, plan: DraftPlan) -> tuple[Round, Cursor]:
        begun = self.clock()
        drafts = plan.looked_up or self._draft(cursor, plan.drafts)
        drafted = self.clock()
        step = self.executor.verify(self.cache, [cursor.pending, *drafts], cursor.position)
        seconds = drafted - begun, self.clock() - drafted
        source = Source.LOOKUP if plan.looked_up else Source.DRAFTER
        return settle(self.chooser, cursor, drafts, step, seconds, source)

    def _draft(self, cursor: Cursor, drafts: int) -> Sequence[int]:
        feed = first_feed(self.cache, cursor)
        if self.chooser.greedy and drafts == self.executor.drafts_at_once:
            return self.executor.draft_round(feed)
        return DraftChain(feed, self.chooser.choose).walk(self.executor.draft, drafts)
