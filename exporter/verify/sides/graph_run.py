"""What the bundle's graphs compute on one text, run once for several rungs.

The whole text goes through ``verify`` call by call, its last tokens through ``decode`` as well, and
its start through the prefill signatures; drafts begin at several lengths, in single steps and all in one
call. A bundle without ``verify`` decodes all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.contract import names
from exporter.contract.text import Contract
from exporter.verify.sides.ring_caches import Caches, PlainCopy, in_turn
from runtime_py.graph_executor import GraphExecutor
from runtime_py.litert.graph import LitertCache
from runtime_py.loop.drafting import DraftChain, DraftStep
from runtime_py.loop.executor import CacheT, DrafterOutput, DraftFeed, Lookups, TargetOutput

Floats = NDArray[np.float32]

AfterCall = Callable[[int, TargetOutput], None]
"""Told after each call which token it began with, and what it gave; that holds until the next call."""

DECODED = 12
"""Tokens at the end of the text that are decoded one by one."""


@dataclass(frozen=True)
class Drafted:
    """A chain of drafts with ``committed`` slots filled, each fed with the one before."""

    committed: int
    tokens: tuple[int, ...]  # that were fed: the pending one, then drafts
    logits: Floats  # [G, V]
    projected: Floats  # [G, H]


@dataclass(frozen=True)
class DraftedAtOnce:
    """The tokens of a draft round, and single steps over the same caches, fed with these tokens."""

    tokens: tuple[int, ...]
    steps: Drafted


@dataclass(frozen=True)
class GraphRun:
    """Outputs of every signature. ``decoded_from`` is where the decoded tail begins."""

    contract: Contract
    tokens: tuple[int, ...]
    probes: tuple[int, ...]
    logits: Floats  # [N, V]
    hidden: Floats  # [T, H]
    caches: Caches
    decoded_from: int
    decoded_logits: Floats
    decoded_hidden: Floats
    prefilled: tuple[tuple[int, Caches], ...]
    """By the number of tokens that were prefilled."""
    drafts: tuple[Drafted, ...]
    rounds: tuple[DraftedAtOnce, ...]
    """From the same starts as ``drafts``; empty where nothing drafts a round in one call."""

    @property
    def tail(self) -> range:
        """Positions that were decoded."""
        return range(self.decoded_from, len(self.tokens))

    @property
    def starts(self) -> tuple[int, ...]:
        """How many tokens were committed where each chain of drafts began."""
        return tuple(drafted.committed for drafted in self.drafts)

    def tail_logits(self) -> Floats:
        """The verified logits of the decoded tail; its positions are always probed."""
        rows: Floats = self.logits[-len(self.tail) :]
        return rows


def run_graphs(
    executor: GraphExecutor[Any],
    tokens: tuple[int, ...],
    probes: tuple[int, ...],
    starts: tuple[int, ...],
) -> GraphRun:
    """Run every signature on ``tokens``; the last :data:`DECODED` must be among the probes."""
    cache = executor.new_cache()
    copy, drafts, rounds = PlainCopy(executor, cache), list[Drafted](), list[DraftedAtOnce]()

    def draft(start: int, step: TargetOutput) -> None:
        """From the starts among the tokens just read: a ring cannot go back to them later."""
        copy.take(start, start + len(step.hidden))
        for row, state in enumerate(step.hidden):
            if (at := start + row + 1) in starts and executor.draft_length:
                feed = DraftFeed(cache, tokens[at], state.copy(), at - 1)
                drafts.append(draft_chain(executor.draft, feed, executor.draft_length))
                if executor.drafts_at_once:
                    rounds.append(_draft_at_once(executor, feed))

    logits, hidden = read_text(executor, cache, tokens, probes, after=draft)
    caches = copy.caches()
    decoded_from = max(0, len(tokens) - DECODED)
    tail_logits, tail_hidden = [], []
    for position in range(decoded_from, len(tokens)):
        step = executor.decode(cache, tokens[position], position)
        tail_logits.append(step.logits[0].copy())
        tail_hidden.append(step.hidden[0].copy())
    prefilled = tuple(
        (count, _prefill(executor, tokens[:count], caches))
        for count in _prefill_counts(executor, tokens)
    )
    return GraphRun(
        executor.contract,
        tokens,
        probes,
        logits,
        hidden,
        caches,
        decoded_from,
        np.stack(tail_logits),
        np.stack(tail_hidden),
        prefilled,
        tuple(drafts),
        tuple(rounds),
    )


def with_tail(probes: Sequence[int], length: int) -> tuple[int, ...]:
    """The probes and the decoded tail."""
    return tuple(sorted({*probes, *range(max(0, length - DECODED), length)}))


def read_text(
    executor: GraphExecutor[Any],
    cache: object,
    tokens: Sequence[int],
    probes: Sequence[int],
    lookups: Lookups | None = None,
    after: AfterCall = lambda start, step: None,
) -> tuple[Floats, Floats]:
    """A text from slot 0 on: logits ``[N, V]`` at the probes, hidden states ``[T, H]`` everywhere.

    ``lookups`` are embeddings to use instead of the bundle's own.
    """
    logits, hidden, wanted = [], [], set(probes)
    stride = executor.draft_length + 1
    for start in range(0, len(tokens), stride):
        part = tokens[start : start + stride]
        step = executor.read(cache, part, start, lookups)
        hidden.append(step.hidden.copy())
        kept = [row for row in range(len(part)) if start + row in wanted]
        logits.append(step.logits[kept])
        after(start, step)
    return np.concatenate(logits), np.concatenate(hidden)


def _prefill_counts(executor: GraphExecutor[Any], tokens: Sequence[int]) -> list[int]:
    """Short of each signature's length by one, so that it pads; and all of the text."""
    lengths = executor.contract.prefill_lengths
    return sorted({min(length, len(tokens)) - 1 for length in lengths} - {0} | {len(tokens)})


def _prefill(executor: GraphExecutor[Any], tokens: Sequence[int], verified: Caches) -> Caches:
    """The caches after a prefill; what a ring no longer holds is as ``verified`` has it."""
    cache = executor.new_cache()
    executor.prefill(cache, tokens, 0)
    copy = PlainCopy(executor, cache, verified)
    copy.take(0, len(tokens))
    return copy.caches()


def _draft_at_once(executor: GraphExecutor[Any], feed: DraftFeed[Any]) -> DraftedAtOnce:
    """A round, then its steps one by one: whatever was drafted, each token has one to be compared with."""
    tokens = executor.draft_round(feed)
    steps = draft_chain(executor.draft, feed, len(tokens), (feed.token, *tokens))
    return DraftedAtOnce(tokens, steps)


def draft_chain(
    draft: DraftStep[CacheT], first: DraftFeed[CacheT], steps: int, fed: Sequence[int] = ()
) -> Drafted:
    """Chained drafts by any side; the tokens in ``fed`` are fed, then the likeliest of each draft."""
    outputs, following = list[DrafterOutput](), iter(fed[1:])
    chain = DraftChain(first, lambda logits, slot: next(following, int(logits.argmax())))
    for _ in range(steps):
        output = draft(chain.feed)
        outputs.append(DrafterOutput(output.logits.copy(), output.projected.copy()))
        chain.take(outputs[-1])
    return Drafted(
        first.position + 1,
        (first.token, *chain.drafts[:-1]),
        np.stack([output.logits for output in outputs]),
        np.stack([output.projected for output in outputs]),
    )


def replayed(draft: DraftStep[CacheT], cache: CacheT, fed: Drafted, state: Floats) -> Drafted:
    """What a side drafts that is fed the tokens of another's chain, from the hidden state ``[H]``."""
    first = DraftFeed(cache, fed.tokens[0], state, fed.committed - 1)
    return draft_chain(draft, first, len(fed.tokens), fed.tokens)


def floor_logit() -> float:
    """What a drafter's head gives tokens that it does not score. The model, which says so, loads torch."""
    from exporter.model.text.drafter import FLOOR_LOGIT

    return FLOOR_LOGIT


def write_caches(agreed: Contract, cache: LitertCache, caches: Caches, count: int) -> None:
    """Overwrite LiteRT's caches of the given names with those of the first ``count`` tokens."""
    for name, values in in_turn(agreed, caches, count).items():
        cache.buffers[name].write(np.ascontiguousarray(values))


def slots(agreed: Contract, caches: Caches, count: int) -> Floats:
    """The first ``count`` slots of all caches, ``[count, everything in a slot]``."""
    parts = []
    for layer in (kv.layer for kv in agreed.kv_caches):
        keys, values = caches[names.key_cache(layer)], caches[names.value_cache(layer)]
        parts.append(keys[0].transpose(1, 0, 2)[:count].reshape(count, -1))
        parts.append(values[0].transpose(2, 0, 1)[:count].reshape(count, -1))
    joined: Floats = np.concatenate(parts, axis=1, dtype=np.float32)
    return joined
