"""Speculative decoding of several sequences at once: as pure a loop as that for one.

Each round drafts for every sequence that can use drafts, verifies all in one call, and lets each accept
its own prefix; a sequence that ends makes room for the next that waits. What a sequence emits does not
depend on its neighbours: with the greedy chooser it is greedy decoding, one sequence at a time. Drafts are
the drafter's: nothing is looked up in contexts here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic

from runtime_py.loop.batch_executor import BatchExecutor, Feed
from runtime_py.loop.drafting import DraftChain
from runtime_py.loop.executor import CacheT, TargetOutput
from runtime_py.loop.rounds import Cursor, Finish, Limits, Round
from runtime_py.loop.speculative import (
    Chooser,
    Clock,
    DraftPolicy,
    first_feed,
    possible_drafts,
    settle,
    until_stop,
    verify_fits,
)


@dataclass(frozen=True)
class Running(Generic[CacheT]):
    """A sequence under way. ``key`` is the caller's name for it, ``produced`` its tokens so far."""

    key: int
    cache: CacheT
    cursor: Cursor
    limits: Limits
    chooser: Chooser
    produced: int = 0

    def ended(self) -> Finish | None:
        """Why no further token can come, apart from a stop token; None if one can."""
        if self.produced >= self.limits.max_new_tokens:
            return Finish.LENGTH
        return Finish.CONTEXT if self.cursor.position >= self.limits.context_length else None


@dataclass(frozen=True)
class Progress:
    """What a round did for one sequence; ``finish`` says that, and why, it was the last.

    ``done`` is None for a sequence that had no room for a single token. Its seconds are those of the
    whole call; ``shared_by`` sequences had their progress from it.
    """

    key: int
    done: Round | None
    finish: Finish | None
    shared_by: int = 1


class Batch(Generic[CacheT]):
    """Sequences that are generated together.

    Args:
        executor: Runs them.
        policy: How much to draft, the same for all in a round. It hears of one sequence's round each
            time, in turn: a batched call costs its time once.
        clock: Seconds.
        together: Use fewer rows than the executor has.
    """

    def __init__(
        self,
        executor: BatchExecutor[CacheT],
        policy: DraftPolicy,
        clock: Clock,
        together: int | None = None,
    ) -> None:
        self._executor, self._policy, self._clock = executor, policy, clock
        self._together = min(together or executor.batch, executor.batch)
        self._turn = 0

    def generate(self, waiting: Iterator[Running[CacheT]]) -> Iterator[Progress]:
        """Run every sequence to its end; ``waiting`` is asked for one whenever there is room."""
        running: list[Running[CacheT]] = []
        while True:
            running += islice(waiting, self._together - len(running))
            if not running:
                return
            for ended in (row for row in running if row.ended()):
                yield Progress(ended.key, None, ended.ended())
            running = [row for row in running if not row.ended()]
            advanced = list(self._round(running))
            running = []
            for row, progress in advanced:
                yield progress
                if progress.finish is None:
                    running.append(row)

    def _round(
        self, running: Sequence[Running[CacheT]]
    ) -> Iterator[tuple[Running[CacheT], Progress]]:
        """One token or more for each sequence: a verify of those it suits, a decode of the others."""
        wanted, longest = self._policy.plan().drafts if running else 0, self._executor.draft_length
        drafts = {
            row.key: possible_drafts(wanted, row.cursor, row.limits, row.produced, longest)
            for row in running
        }
        verified, decoded = list[Running[CacheT]](), list[Running[CacheT]]()
        for row in running:
            suits = any(drafts.values()) and verify_fits(row.cursor, row.limits, longest)
            (verified if suits else decoded).append(row)
        if verified:
            yield from self._speculate(verified, drafts)
        if decoded:
            yield from self._decode(decoded, observed=not verified)

    def _decode(
        self, rows: Sequence[Running[CacheT]], *, observed: bool
    ) -> Iterator[tuple[Running[CacheT], Progress]]:
        begun = self._clock()
        steps = self._executor.decode([_feed(row, []) for row in rows])
        seconds = 0.0, self._clock() - begun
        nothing: list[list[int]] = [[] for _ in rows]
        return self._settle(rows, nothing, steps, seconds, observed=observed)

    def _speculate(
        self, rows: Sequence[Running[CacheT]], drafts: Mapping[int, int]
    ) -> Iterator[tuple[Running[CacheT], Progress]]:
        begun = self._clock()
        proposals = self._draft(rows, drafts)
        drafted = self._clock()
        feeds = [_feed(row, proposed) for row, proposed in zip(rows, proposals, strict=True)]
        steps = self._executor.verify(feeds)
        seconds = drafted - begun, self._clock() - drafted
        return self._settle(rows, proposals, steps, seconds, observed=True)

    def _draft(self, rows: Sequence[Running[CacheT]], drafts: Mapping[int, int]) -> list[list[int]]:
        """As many drafts for each sequence as ``drafts`` has by its key; some sit out later steps."""
        chains = {
            row.key: DraftChain(first_feed(row.cache, row.cursor), row.chooser.choose)
            for row in rows
            if drafts[row.key]
        }
        for step in range(max(drafts.values())):
            active = [chain for key, chain in chains.items() if drafts[key] > step]
            outputs = self._executor.draft([chain.feed for chain in active])
            for chain, output in zip(active, outputs, strict=True):
                chain.take(output)
        return [chains[row.key].drafts if row.key in chains else [] for row in rows]

    def _settle(
        self,
        rows: Sequence[Running[CacheT]],
        proposals: Sequence[Sequence[int]],
        steps: Sequence[TargetOutput],
        seconds: tuple[float, float],
        *,
        observed: bool,
    ) -> Iterator[tuple[Running[CacheT], Progress]]:
        """Accept for each sequence, tell the policy of one, and say how all of them stand."""
        settled = [
            settle(row.chooser, row.cursor, proposed, step, seconds)
            for row, proposed, step in zip(rows, proposals, steps, strict=True)
        ]
        if observed:
            most = max(done.drafted for done, _ in settled)
            telling = [done for done, _ in settled if done.drafted == most]
            self._policy.observe(telling[self._turn % len(telling)])
            self._turn += 1
        for row, (done, cursor) in zip(rows, settled, strict=True):
            yield _advanced(row, until_stop(done, row.limits.stop_tokens), cursor, len(rows))


def _feed(row: Running[CacheT], proposed: Sequence[int]) -> Feed[CacheT]:
    tokens = (row.cursor.pending, *proposed)
    return Feed(row.cache, tokens, row.cursor.position)


def _advanced(
    row: Running[CacheT], kept: Round, cursor: Cursor, shared_by: int
) -> tuple[Running[CacheT], Progress]:
    after = replace(row, cursor=cursor, produced=row.produced + len(kept.tokens))
    stopped = kept.tokens[-1] in row.limits.stop_tokens
    finish = Finish.STOP if stopped else after.ended()
    return after, Progress(row.key, kept, finish, shared_by)
