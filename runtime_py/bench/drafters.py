"""Bundles of one target with different drafters, compared on the same prompts.

Greedy answers are the target's own, whatever is drafted; so the bundles give one text, and what differs is
how many tokens a round emits. That needs no clock: it is counted, by prompt, and compared in pairs
(:mod:`runtime_py.bench.paired`). What a round costs is measured besides, for the verdict on each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.bundle.layout import SHA256_KEY
from exporter.bundle.reader import open_bundle
from exporter.contract.names import Section
from exporter.contract.text import Contract
from exporter.errors import BundleError, ParityError
from runtime_py.bench.costs import ROUNDS, Costs, Work, measure_costs
from runtime_py.bench.drafts import Drafts
from runtime_py.bench.paired import Count, Gain, paired_gain
from runtime_py.bench.verdict import MtpVerdict, judge
from runtime_py.litert.hardware import Hardware
from runtime_py.loop.rounds import Acceptance
from runtime_py.opened_model import open_model
from runtime_py.same_text import first_difference

TARGET = (Section.EMBEDDER, Section.PER_LAYER_EMBEDDER, Section.PREFILL_DECODE)


@dataclass(frozen=True)
class DrafterRun:
    """All prompts answered by one bundle, with G drafts in every round."""

    bundle: Path
    target: tuple[str, ...]
    """Checksums of the target's sections; empty where the bundle has none."""
    answers: tuple[tuple[int, ...], ...]
    """Tokens, by prompt."""
    acceptances: tuple[Acceptance, ...]
    """By prompt."""
    draft_length: int
    costs: Costs


@dataclass(frozen=True)
class Drafter:
    """One of the drafters, on the prompts that all bundles answer alike."""

    bundle: str
    tokens: tuple[float | None, ...]
    """A round, by prompt; None where nothing was drafted."""
    verdict: MtpVerdict
    gain: Gain | None
    """In tokens a round over the first drafter; None for that one."""


@dataclass(frozen=True)
class Drafters:
    """The comparison."""

    prompts: tuple[str, ...]
    left_out: tuple[str, ...]
    """Prompts to which equal targets gave different answers: near-ties that rounding decides."""
    drafters: tuple[Drafter, ...]

    @property
    def best(self) -> int:
        """Which drafter to take: the first, unless another emits more by more than noise."""
        gains = [0.0] + [
            drafter.gain.difference if drafter.gain.beyond_noise else 0.0
            for drafter in self.drafters
            if drafter.gain is not None
        ]
        return max(range(len(gains)), key=gains.__getitem__)


def require_comparable(contracts: dict[Path, Contract]) -> None:
    """Check what can be seen without running anything.

    Raises:
        BundleError: A bundle has no drafter, or another draft length than the first.
    """
    first, agreed = next(iter(contracts.items()))
    for path, other in contracts.items():
        if not other.has_drafter:
            raise BundleError(f"{path}: expected a bundle with a drafter, found one without")
        if other.draft_length != agreed.draft_length:
            raise BundleError(
                f"{path}: expected {agreed.draft_length} drafts a round as in {first}, found "
                f"{other.draft_length}; export both with one --draft-length"
            )


def run_drafter(
    path: Path, hardware: Hardware, prompts: Sequence[str], max_new_tokens: int
) -> DrafterRun:
    """Answer the prompts, and measure what calls cost.

    Raises:
        MtpExportError: The bundle cannot be opened, or a prompt does not fit.
    """
    with open_model(path, hardware) as model:
        length = model.executor.draft_length
        replies = [
            model.session(policy=model.policy(length)).answer(prompt, max_new_tokens)
            for prompt in prompts
        ]
        tokens = tuple(model.tokenizer.encode_prompt("\n".join(prompts)))
        costs = measure_costs(model.executor, Work(tokens, (), ROUNDS, 0))
    return DrafterRun(
        path,
        target_checksums(path),
        tuple(reply.tokens for reply in replies),
        tuple(reply.acceptance for reply in replies),
        length,
        costs,
    )


def target_checksums(path: Path) -> tuple[str, ...]:
    """Of the sections that make the target; empty unless all of them have one."""
    bundle = open_bundle(path)
    sections = [found for section in TARGET if (found := bundle.model(section)) is not None]
    sums = tuple(str(section.metadata.get(SHA256_KEY, "")) for section in sections)
    return sums if all(sums) else ()


def compare_drafters(
    bundles: Sequence[Path], run: Callable[[Path], DrafterRun], prompts: Sequence[str]
) -> Drafters:
    """Run each bundle and compare it with the first.

    Raises:
        ParityError: Bundles of different targets; no later one is run.
    """
    runs: list[DrafterRun] = []
    for path in bundles:
        runs.append(run(path))
        require_one_target(runs[0], runs[-1], prompts)
    alike = [len({done.answers[index] for done in runs}) == 1 for index in range(len(prompts))]
    kept = [index for index, same in enumerate(alike) if same]
    return Drafters(
        tuple(prompts[index] for index in kept),
        tuple(prompt for prompt, same in zip(prompts, alike, strict=True) if not same),
        tuple(
            _compared(done, runs[0] if number else None, kept) for number, done in enumerate(runs)
        ),
    )


def require_one_target(first: DrafterRun, other: DrafterRun, prompts: Sequence[str]) -> None:
    """Check that two bundles gave one text, or have byte for byte one target.

    Raises:
        ParityError: Naming the first answer that differs.
    """
    if first.target and first.target == other.target:
        return
    for prompt, one, another in zip(prompts, first.answers, other.answers, strict=True):
        if (same := first_difference(one, another)) is not None:
            raise ParityError(
                f"{other.bundle}: expected the answers of {first.bundle}, as drafters change no text; "
                f"found another one to {prompt[:40]!r} after {same} tokens: compare bundles of one target, "
                "exported with one recipe"
            )


def _compared(run: DrafterRun, first: DrafterRun | None, kept: Sequence[int]) -> Drafter:
    """``first`` is None for the first itself."""
    counts = [_tokens_of_rounds(run.acceptances[index]) for index in kept]
    before = [_tokens_of_rounds(first.acceptances[index]) for index in kept] if first else []
    by_prompt = [run.acceptances[index] for index in kept]
    known = run.costs.known(run.draft_length, Acceptance.total(by_prompt))
    return Drafter(
        str(run.bundle),
        tuple(count.amount / count.base if count.base else None for count in counts),
        judge(Drafts.of(by_prompt, run.draft_length), known),
        paired_gain(before, counts) if first else None,
    )


def _tokens_of_rounds(found: Acceptance) -> Count:
    """Tokens of the rounds that drafted, the verify's own included, by their number."""
    rounds = found.drafted[0] if found.drafted else 0
    return Count(rounds + sum(found.accepted), rounds)
