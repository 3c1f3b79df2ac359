"""Speculative decoding as a pure loop over an executor: no torch, no LiteRT, no tokenizer.

A round drafts k tokens, verifies them with the pending token in one call and keeps the longest prefix
the chooser accepts, plus one token of the target's own. With the greedy chooser the tokens are those
of plain greedy decoding, whatever the drafter says.

Source: Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", 2023, algorithm 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol

import numpy as np

from runtime_py.loop.drafting import DraftChain, Proposal
from runtime_py.loop.executor import CacheT, DraftFeed, Executor, Floats, TargetOutput
from runtime_py.loop.rounds import Cursor, Finish, Limits, Round, Rounds

Clock = Callable[[], float]


class Chooser(Protocol):
    """How tokens are chosen from logits: greedily, or by sampling."""

    @property
    def greedy(self) -> bool:
        """Whether what is proposed is always the likeliest token."""

    def choose(self, logits: Floats) -> int:
        """The next token, from the target's logits ``[V]``."""

    def propose(self, logits: Floats) -> Proposal:
        """A draft, from the drafter's logits ``[V]``."""

    def judge(self, proposals: Sequence[Proposal], logits: Floats) -> tuple[int, int]:
        """How many proposals to accept, and the token after them.

        ``logits`` ``[k + 1, V]`` are the target's; row i is what it says where proposal i stands.
        """


class Greedy:
    """Always the likeliest token; of equals, the one with the smallest id.

    Args:
        suppressed: Tokens that are never chosen. A draft may be one of them: it is rejected then.
    """

    greedy = True

    def __init__(self, suppressed: Collection[int] = ()) -> None:
        self._suppressed = sorted(suppressed)

    def choose(self, logits: Floats) -> int:
        best = int(logits.argmax())
        if best in self._suppressed:  # seldom: only then are the logits copied
            allowed = logits.copy()
            allowed[self._suppressed] = -np.inf
            best = int(allowed.argmax())
        return best

    def propose(self, logits: Floats) -> Proposal:
        return Proposal(self.choose(logits))

    def judge(self, proposals: Sequence[Proposal], logits: Floats) -> tuple[int, int]:
        best = [self.choose(row) for row in logits]
        accepted = 0
        while accepted < len(proposals) and proposals[accepted].token == best[accepted]:
            accepted += 1
        return accepted, best[accepted]


class DraftPolicy(Protocol):
    """How many tokens to draft in a round."""

    def begin(self) -> None:
        """Another answer begins; not told where several run together."""

    def length(self) -> int:
        """Drafts wanted in the next round; the loop may do with fewer."""

    def observe(self, done: Round) -> None:
        """Learn from a round."""


@dataclass(frozen=True)
class Fixed:
    """As many drafts in every round; 0 is plain decoding."""

    drafts: int

    def begin(self) -> None:
        """Nothing to forget."""

    def length(self) -> int:
        return self.drafts

    def observe(self, done: Round) -> None:
        """Nothing to learn."""


def generate(
    speaker: Speaker[CacheT],
    start: Cursor,
    limits: Limits,
    policy: DraftPolicy,
) -> Rounds:
    """Decode from ``start`` on, never more than ``limits.max_new_tokens`` tokens.

    A round near the end of the context that a verify would overrun is a plain decode.
    """
    policy.begin()
    cursor, produced, longest = start, 0, speaker.executor.draft_length
    while produced < limits.max_new_tokens:
        if cursor.position >= limits.context_length:
            return Finish.CONTEXT
        drafts = possible_drafts(policy.length(), cursor, limits, produced, longest)
        done, cursor = speaker.round(cursor, drafts)
        policy.observe(done)
        kept = until_stop(done, limits.stop_tokens)
        produced += len(kept.tokens)
        yield kept
        if kept.tokens[-1] in limits.stop_tokens:
            return Finish.STOP
    return Finish.LENGTH


def verify_fits(cursor: Cursor, limits: Limits, draft_length: int) -> bool:
    """Whether a verify, which always writes G + 1 slots, stays inside the context."""
    return cursor.position + draft_length + 1 <= limits.context_length


def possible_drafts(
    wanted: int, cursor: Cursor, limits: Limits, produced: int, draft_length: int
) -> int:
    """How many of the drafts ``wanted`` a round can make and use, after ``produced`` tokens."""
    if cursor.hidden is None or not verify_fits(cursor, limits, draft_length):
        return 0
    return max(0, min(wanted, draft_length, limits.max_new_tokens - produced - 1))


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
    proposals: Sequence[Proposal],
    step: TargetOutput,
    seconds: tuple[float, float],
) -> tuple[Round, Cursor]:
    """Accept what the target agrees with; without proposals this is a decode.

    ``step`` is what the target says after the pending token and each proposal; ``seconds`` are those in
    drafter and target.
    """
    accepted, following = chooser.judge(proposals, step.logits)
    committed = (cursor.pending, *(proposal.token for proposal in proposals[:accepted]))
    emitted = (*committed[1:], following)
    done = Round(emitted, committed, len(proposals), accepted, *seconds)
    hidden = step.hidden[accepted].copy()
    return done, Cursor(cursor.position + accepted + 1, following, hidden)


@dataclass(frozen=True)
class Speaker(Generic[CacheT]):
    """A model with the cache of one sequence and a way to choose tokens."""

    executor: Executor[CacheT]
    cache: CacheT
    chooser: Chooser
    clock: Clock = time.perf_counter

    def round(self, cursor: Cursor, drafts: int) -> tuple[Round, Cursor]:
        """Emit at least one token; returns where the sequence stands afterwards."""
        return self._speculate(cursor, drafts) if drafts else self._decode(cursor)

    def _decode(self, cursor: Cursor) -> tuple[Round, Cursor]:
        begun = self.clock()
        step = self.executor.decode(self.cache, cursor.pending, cursor.position)
        return settle(self.chooser, cursor, [], step, (0.0, self.clock() - begun))

    def _speculate(self, cursor: Cursor, drafts: int) -> tuple[Round, Cursor]:
        begun = self.clock()
        proposals = self._draft(cursor, drafts)
        drafted = self.clock()
        tokens = [cursor.pending, *(proposal.token for proposal in proposals)]
        step = self.executor.verify(self.cache, tokens, cursor.position)
        seconds = drafted - begun, self.clock() - drafted
        return settle(self.chooser, cursor, proposals, step, seconds)

    def _draft(self, cursor: Cursor, drafts: int) -> list[Proposal]:
        feed = first_feed(self.cache, cursor)
        if self.chooser.greedy and drafts == self.executor.drafts_at_once:
            return [Proposal(token) for token in self.executor.draft_round(feed)]
        return DraftChain(feed, self.chooser.propose).walk(self.executor.draft, drafts)
