"""Measuring one bundle: its target on the text, its drafts, its speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.compare.figures import DraftFigures, Estimate, Speed, TextFigures
from exporter.compare.passages import PassagePlan
from exporter.errors import BundleError
from exporter.files.output import check_free_space
from exporter.verify.answers import decode_after
from exporter.verify.sides.graph_run import draft_chain, read_text
from exporter.verify.text_fit import TextFit, fit_text
from runtime_py.litert.executor import LitertExecutor
from runtime_py.litert.graph import LitertCache
from runtime_py.loop.executor import DraftFeed, TargetOutput
from runtime_py.loop.rounds import Acceptance, Limits, Round
from runtime_py.loop.speculative import Greedy
from runtime_py.opened_model import OpenedModel

FLOAT_BYTES = 4

TIMED = 8
"""Passages that are continued without drafts as well, for their speed."""


@dataclass(frozen=True)
class Baseline:
    """What every bundle is measured on, and what the reference bundle said of each passage."""

    name: str
    passages: tuple[tuple[int, ...], ...]
    plan: PassagePlan
    logits: NDArray[np.float32]  # [passages, T, V], in a file
    continued: tuple[tuple[int, ...], ...]  # the prompt of each passage and its greedy continuation


@dataclass(frozen=True)
class Heard:
    """What came of continuing one passage."""

    prompt: int
    tokens: tuple[int, ...]
    rounds: tuple[Round, ...]

    @property
    def seconds(self) -> float:
        return sum(done.seconds for done in self.rounds)

    @property
    def emitted(self) -> int:
        return len(self.tokens) - self.prompt


@dataclass(frozen=True)
class Continued:
    """All continuations: with drafts if the bundle has a drafter, some without."""

    every: list[Heard] = field(default_factory=list)
    plain: list[Heard] = field(default_factory=list)

    def drafts(self) -> DraftFigures | None:
        """What became of the drafts."""
        counts = [Acceptance.of(heard.rounds) for heard in self.every]
        return DraftFigures.of([count for count in counts if count.drafted])

    def speed(self) -> Speed:
        """Of both ways on the passages that were continued in both."""
        with_drafts = self.every[: len(self.plain)]
        drafted = any(done.drafted for heard in with_drafts for done in heard.rounds)
        return Speed(_rate(with_drafts) if drafted else None, _rate(self.plain))


def _rate(heard: Sequence[Heard]) -> float:
    return sum(one.emitted for one in heard) / sum(one.seconds for one in heard)


def check_room(model: OpenedModel, plan: PassagePlan, bundle: Path) -> None:
    """Check that passages and continuations fit the cache.

    Raises:
        BundleError: They do not.
    """
    agreed = model.executor.contract
    room = agreed.cache_length - agreed.draft_length - 1
    if plan.longest > room:
        raise BundleError(
            f"{bundle}: its cache has {agreed.cache_length} slots, and a passage or a continuation needs "
            f"{plan.longest + agreed.draft_length + 1}; choose a smaller --passage-length, "
            "--prompt-tokens or --new-tokens"
        )


def check_tokens(model: OpenedModel, baseline: Baseline, bundle: Path) -> None:
    """Check that a bundle's model has as many tokens as the reference's.

    Raises:
        BundleError: It has more or fewer.
    """
    found, expected = model.executor.contract.vocab_size, baseline.logits.shape[-1]
    if found != expected:
        raise BundleError(
            f"{bundle}: expected a bundle of the model of {baseline.name}, with {expected} tokens, found one "
            f"with {found}; compare bundles of one model"
        )


def read_logits(
    model: OpenedModel, passages: Sequence[tuple[int, ...]], folder: Path
) -> NDArray[np.float32]:
    """Read every passage and keep the logits ``[passages, T, V]``, in a file below ``folder``.

    The file is written before it is mapped: where a sparse one were, a full disk would end the process.

    Raises:
        OutputError: The disk has no room for it.
    """
    executor, path = model.executor, folder / "reference_logits"
    shape = (len(passages), len(passages[0]), executor.contract.vocab_size)
    check_free_space(path, math.prod(shape) * FLOAT_BYTES, "measuring")
    cache = executor.new_cache()
    with path.open("wb") as stream:
        for passage in passages:
            stream.write(read_text(executor, cache, passage, range(len(passage)))[0].tobytes())
    return np.memmap(path, np.float32, mode="r", shape=shape)


def compare_text(model: OpenedModel, baseline: Baseline) -> TextFigures:
    """The target on every passage, against the reference's logits."""
    executor, cache, passages = model.executor, model.executor.new_cache(), baseline.passages
    fits, same = list[TextFit](), 0
    for passage, reference in zip(passages, baseline.logits, strict=True):
        logits, _ = read_text(executor, cache, passage, range(len(passage)))
        fits.append(fit_text(logits, reference, passage[1:]))
        same += int((logits.argmax(axis=1) == reference.argmax(axis=1)).sum())
    positions = sum(map(len, passages))
    return TextFigures(
        float(np.exp(np.mean([fit.surprise.mean() for fit in fits]))),
        float(np.exp(np.mean([fit.reference_surprise.mean() for fit in fits]))),
        Estimate.of_means([fit.divergence for fit in fits]),
        max(float(fit.divergences.max()) for fit in fits),
        same / positions,
        positions,
    )


def continue_all(
    model: OpenedModel, passages: Sequence[tuple[int, ...]], plan: PassagePlan
) -> Continued:
    """Continue the beginning of every passage; the first few in both ways, one after the other."""
    cache, done = model.executor.new_cache(), Continued()
    drafts = model.executor.draft_length
    for index, passage in enumerate(passages):
        prompt = passage[: plan.prompt]
        done.every.append(_continue(model, cache, prompt, plan.new, drafts))
        if index < TIMED:
            done.plain.append(_continue(model, cache, prompt, plan.new, 0))
    return done


def _continue(
    model: OpenedModel, cache: LitertCache, prompt: tuple[int, ...], new: int, drafts: int
) -> Heard:
    limits = Limits(new, model.tokenizer.stop_tokens, model.executor.cache_length)
    chooser = Greedy(model.tokenizer.suppressed_tokens)
    rounds = tuple(decode_after(model.executor, cache, chooser, prompt, limits, drafts))
    tokens = [token for done in rounds for token in done.tokens]
    return Heard(len(prompt), (*prompt, *tokens), rounds)


def draft_everywhere(executor: LitertExecutor, baseline: Baseline) -> DraftFigures | None:
    """Draft from every position of the reference's continuations; accepted is what they go on with.

    With slots 0..c-1 committed, the pending token is c, and draft k is right if token c + k follows.
    """
    if not executor.draft_length:
        return None
    cache, longest, prompt = executor.new_cache(), executor.draft_length, baseline.plan.prompt
    found = (accepted_lengths(executor, cache, text, prompt) for text in baseline.continued)
    return DraftFigures.of([_counts(lengths, longest) for lengths in found])


def accepted_lengths(
    executor: LitertExecutor, cache: LitertCache, text: tuple[int, ...], prompt: int
) -> list[int]:
    """How many drafts in a row are right, from each position that has as many tokens behind it."""
    wanted, lengths = range(prompt, len(text) - executor.draft_length), list[int]()

    def draft(start: int, step: TargetOutput) -> None:
        for row, state in enumerate(step.hidden):
            if (committed := start + row + 1) in wanted:
                first = DraftFeed(cache, text[committed], state.copy(), committed - 1)
                chain = draft_chain(executor.draft, first, executor.draft_length)
                drafts = (*chain.tokens[1:], int(chain.logits[-1].argmax()))
                pairs = zip(drafts, text[committed + 1 :], strict=False)
                lengths.append(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))

    read_text(executor, cache, text, (), after=draft)  # while it is read: a ring cannot go back
    return lengths


def _counts(lengths: Sequence[int], longest: int) -> Acceptance:
    accepted = (sum(length > place for length in lengths) for place in range(longest))
    return Acceptance((len(lengths),) * longest, tuple(accepted))
