"""What the bundle's graphs compute on one text, run once for several rungs.

The whole text goes through ``verify`` call by call, its last tokens through ``decode`` as well, and
its start through the prefill signatures; drafts begin at several lengths, in single steps and all in one
call. A bundle without ``verify``
decodes all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter import contract
from exporter.contract import Contract
from runtime_py.graph_executor import GraphExecutor
from runtime_py.litert.executor import LitertCache
from runtime_py.token_inputs import Lookups

Floats = NDArray[np.float32]

Caches = Mapping[str, NDArray[Any]]
"""KV caches by the contract's tensor names: keys ``[1, K, S, D]``, values ``[1, K, D, S]``; floats, or
codes."""

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
    logits, hidden = read_text(executor, cache, tokens, probes)
    caches = executor.read_cache(cache)
    decoded_from = max(0, len(tokens) - DECODED)
    after = [(tokens[start], hidden[start - 1], start) for start in starts]
    drafts, rounds = list[Drafted](), list[DraftedAtOnce]()
    if executor.draft_length:
        drafts = [draft_chain(executor, cache, *place) for place in after]
    if executor.drafts_at_once:
        rounds = [_draft_at_once(executor, cache, *place) for place in after]
    tail_logits, tail_hidden = [], []
    for position in range(decoded_from, len(tokens)):
        step = executor.decode(cache, tokens[position], position)
        tail_logits.append(step.logits[0].copy())
        tail_hidden.append(step.hidden[0].copy())
    prefilled = tuple(
        (count, _prefill(executor, tokens[:count])) for count in _prefill_counts(executor, tokens)
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
    return np.concatenate(logits), np.concatenate(hidden)


def _prefill_counts(executor: GraphExecutor[Any], tokens: Sequence[int]) -> list[int]:
    """Short of each signature's length by one, so that it pads; and all of the text."""
    lengths = executor.contract.prefill_lengths
    return sorted({min(length, len(tokens)) - 1 for length in lengths} - {0} | {len(tokens)})


def _prefill(executor: GraphExecutor[Any], tokens: Sequence[int]) -> Caches:
    cache = executor.new_cache()
    executor.prefill(cache, tokens, 0)
    return executor.read_cache(cache)


def _draft_at_once(
    executor: GraphExecutor[Any], cache: object, token: int, state: Floats, committed: int
) -> DraftedAtOnce:
    """A round, then its steps one by one: whatever was drafted, each token has one to be compared with."""
    tokens = tuple(executor.draft_round(cache, token, state, committed - 1))
    return DraftedAtOnce(tokens, draft_chain(executor, cache, token, state, committed, tokens))


def draft_chain(
    executor: GraphExecutor[Any],
    cache: object,
    token: int,
    state: Floats,
    committed: int,
    forced: Sequence[int] | None = None,
    lookups: Lookups | None = None,
) -> Drafted:
    """G chained drafts; ``forced`` tokens and ``lookups`` instead of the drafter's and bundle's own."""
    fed, logits, projected = [token], [], []
    for step in range(executor.draft_length):
        draft = executor.draft(cache, fed[-1], state, committed - 1, lookups)
        logits.append(draft.logits.copy())
        projected.append(draft.projected.copy())
        state = projected[-1]
        fed.append(int(draft.logits.argmax()) if forced is None else forced[step])
    return Drafted(committed, tuple(fed[:-1]), np.stack(logits), np.stack(projected))


def write_caches(cache: LitertCache, caches: Caches) -> None:
    """Overwrite LiteRT's caches of the given names."""
    for name, values in caches.items():
        cache.bank[name].write(np.ascontiguousarray(values))


def slots(agreed: Contract, caches: Caches, count: int) -> Floats:
    """The first ``count`` slots of all caches, ``[count, everything in a slot]``."""
    parts = []
    for layer in (kv.layer for kv in agreed.kv_caches):
        keys, values = caches[contract.key_cache(layer)], caches[contract.value_cache(layer)]
        parts.append(keys[0].transpose(1, 0, 2)[:count].reshape(count, -1))
        parts.append(values[0].transpose(2, 0, 1)[:count].reshape(count, -1))
    joined: Floats = np.concatenate(parts, axis=1, dtype=np.float32)
    return joined
