"""A language model of a few lines, to test the loop with drafters of every kind.

The toy target's logits are a fixed function of the last tokens in its cache. The toy keeps watch: it
raises if the loop reads a slot that holds garbage, drafts from a hidden state of another slot, or
verifies where the slots do not suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from runtime_py.loop.batch_executor import Feed
from runtime_py.loop.drafting import DraftChain
from runtime_py.loop.executor import DrafterOutput, DraftFeed, Floats, TargetOutput
from runtime_py.loop.returning import Returning
from runtime_py.loop.rounds import Cursor, Finish, Limits, Round
from runtime_py.loop.speculative import Chooser, DraftPolicy, Greedy, Speaker, generate

GARBAGE = -1
HIDDEN = 3  # slot, token, drafts so far

DraftLogits = Callable[[Sequence[int]], Floats]
"""The drafter's logits ``[V]`` after a sequence of tokens."""


def logits_after(tokens: Sequence[int], vocab: int, *, seed: int = 0, memory: int = 2) -> Floats:
    """Logits ``[V]`` that depend on the last ``memory`` tokens alone."""
    return _fixed_logits(tuple(tokens[-memory:]), vocab, seed)


@cache
def _fixed_logits(tokens: tuple[int, ...], vocab: int, seed: int) -> Floats:
    random = np.random.default_rng([seed, *(token + 1 for token in tokens)])
    return random.normal(0.0, 1.5, vocab).astype(np.float32)


@dataclass
class ToyExecutor:
    """An :class:`~runtime_py.loop.executor.Executor` whose cache is a list of tokens."""

    vocab: int = 7
    cache_length: int = 40
    draft_length: int = 3
    seed: int = 0
    memory: int = 2
    drafts_at_once: int = 0
    turn: int = 0
    """How many tokens the cache holds at most, and so forgets of what is older; 0 for all."""
    drafter: DraftLogits | None = field(default=None, init=False)
    calls: dict[str, int] = field(default_factory=dict, init=False)
    _drafted: list[int] = field(default_factory=list, init=False)

    def target_logits(self, tokens: Sequence[int]) -> Floats:
        return logits_after(tokens, self.vocab, seed=self.seed, memory=self.memory)

    def new_cache(self) -> list[int]:
        return [GARBAGE] * self.cache_length

    def prefill(
        self, cache: list[int], tokens: Sequence[int], position: int, lookups: object = None
    ) -> None:
        self._count("prefill")
        self._write(cache, tokens, position)

    def decode(self, cache: list[int], token: int, position: int) -> TargetOutput:
        self._count("decode")
        return self._step(cache, [token], position)

    def verify(self, cache: list[int], tokens: Sequence[int], position: int) -> TargetOutput:
        self._count("verify")
        slots = self.draft_length + 1
        assert 1 <= len(tokens) <= slots
        assert position + slots <= self.cache_length, "verify would run past the end of the cache"
        step = self._step(cache, tokens, position)
        cache[position + len(tokens) : position + slots] = [GARBAGE] * (slots - len(tokens))
        self._forget(cache, position + slots)
        return step

    def draft(self, feed: DraftFeed[list[int]]) -> DrafterOutput:
        self._count("draft")
        slot, last, done = map(int, feed.hidden)
        assert slot == feed.position, "the hidden state is that of another slot"
        committed = self._read(feed.cache, feed.position + 1)
        assert committed[-1] == last, "the hidden state is that of another token"
        self._drafted = [*self._drafted[:done], feed.token]
        assert self.drafter is not None
        logits = self.drafter([*committed, *self._drafted])
        return DrafterOutput(logits, np.array([slot, last, done + 1], dtype=np.float32))

    def draft_round(self, feed: DraftFeed[list[int]]) -> list[int]:
        self._count("draft_round")
        return DraftChain(feed, Greedy().choose).walk(self.draft, self.drafts_at_once)

    def _step(self, cache: list[int], tokens: Sequence[int], position: int) -> TargetOutput:
        self._write(cache, tokens, position)
        seen = self._read(cache, position + len(tokens))
        ends = range(position + 1, position + len(tokens) + 1)
        logits = np.stack([self.target_logits(seen[:end]) for end in ends])
        hidden = [[end - 1, seen[end - 1], 0] for end in ends]
        return TargetOutput(logits, np.array(hidden, dtype=np.float32))

    def _write(self, cache: list[int], tokens: Sequence[int], position: int) -> None:
        assert position + len(tokens) <= self.cache_length
        cache[position : position + len(tokens)] = tokens
        self._forget(cache, position + len(tokens))

    def _forget(self, cache: list[int], written: int) -> None:
        if self.turn and written > self.turn:
            cache[: written - self.turn] = [GARBAGE] * (written - self.turn)

    def earliest_return(self, written: int) -> int:
        return written - self.turn + self.memory if 0 < self.turn < written else 0

    def _read(self, cache: list[int], slots: int) -> list[int]:
        seen = cache[:slots][-self.memory :] if self.turn else cache[:slots]
        assert GARBAGE not in seen, "a slot is read that nothing was committed to"
        return cache[:slots]

    def _count(self, call: str) -> None:
        self.calls[call] = self.calls.get(call, 0) + 1


@dataclass
class ToyCache:
    """A sequence of a :class:`ToyBatch`: a toy of its own and the cache it watches."""

    toy: ToyExecutor
    slots: list[int]


@dataclass
class ToyBatch:
    """A :class:`~runtime_py.loop.batch_executor.BatchExecutor` of toys, made by ``make``."""

    make: Callable[[], ToyExecutor]
    batch: int
    fed: list[tuple[str, int]] = field(default_factory=list, init=False)
    """The calls, and how many sequences each was for."""

    @property
    def cache_length(self) -> int:
        return self.make().cache_length

    @property
    def draft_length(self) -> int:
        return self.make().draft_length

    def new_cache(self) -> ToyCache:
        toy = self.make()
        return ToyCache(toy, toy.new_cache())

    def prefill(
        self, cache: ToyCache, tokens: Sequence[int], position: int, lookups: object = None
    ) -> None:
        cache.toy.prefill(cache.slots, tokens, position)

    def decode(self, feeds: Sequence[Feed[ToyCache]]) -> list[TargetOutput]:
        self._note("decode", feeds)
        assert all(len(feed.tokens) == 1 for feed in feeds)
        return [
            feed.cache.toy.decode(feed.cache.slots, feed.tokens[0], feed.position) for feed in feeds
        ]

    def verify(self, feeds: Sequence[Feed[ToyCache]]) -> list[TargetOutput]:
        self._note("verify", feeds)
        return [
            feed.cache.toy.verify(feed.cache.slots, feed.tokens, feed.position) for feed in feeds
        ]

    def draft(self, feeds: Sequence[DraftFeed[ToyCache]]) -> list[DrafterOutput]:
        self._note("draft", feeds)
        return [
            feed.cache.toy.draft(
                DraftFeed(feed.cache.slots, feed.token, feed.hidden, feed.position)
            )
            for feed in feeds
        ]

    def _note(
        self, call: str, feeds: Sequence[Feed[ToyCache]] | Sequence[DraftFeed[ToyCache]]
    ) -> None:
        assert 1 <= len(feeds) <= self.batch
        assert len({id(feed.cache) for feed in feeds}) == len(feeds), "a sequence is there twice"
        self.fed.append((call, len(feeds)))


def perfect(toy: ToyExecutor) -> DraftLogits:
    """Drafts what the target says."""
    return toy.target_logits


def adversarial(toy: ToyExecutor) -> DraftLogits:
    """Drafts what the target likes least."""
    return lambda tokens: -toy.target_logits(tokens)


def unrelated(toy: ToyExecutor) -> DraftLogits:
    """Drafts something of its own."""
    return lambda tokens: logits_after(tokens, toy.vocab, seed=toy.seed + 1, memory=3)


def leading_astray(toy: ToyExecutor) -> DraftLogits:
    """Right at some places and wrong at others."""
    return lambda tokens: (perfect if sum(tokens) % 3 else adversarial)(toy)(tokens)


DRAFTERS = {
    "perfect": perfect,
    "adversarial": adversarial,
    "unrelated": unrelated,
    "leading astray": leading_astray,
}


@dataclass
class Outcome:
    """What a generation gave, and what it left in the cache."""

    rounds: list[Round] = field(default_factory=list)
    finish: Finish | None = None
    cache: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        return [token for done in self.rounds for token in done.tokens]

    @property
    def committed(self) -> list[int]:
        """What the rounds say stands in the cache behind the prompt's own tokens."""
        return [token for done in self.rounds for token in done.committed]


def generated(
    toy: ToyExecutor, prompt: Sequence[int], limits: Limits, policy: DraftPolicy, chooser: Chooser
) -> Outcome:
    """What the loop for one sequence makes of a prompt."""
    outcome = Outcome(cache=toy.new_cache())
    toy.prefill(outcome.cache, prompt[:-1], 0)
    start = Cursor(len(prompt) - 1, prompt[-1])
    rounds = Returning(generate(Speaker(toy, outcome.cache, chooser), start, limits, policy))
    outcome.rounds += rounds
    outcome.finish = rounds.value
    return outcome
