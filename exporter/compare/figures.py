"""The figures of one bundle, as values that every rendering starts from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime_py.loop.rounds import Acceptance


@dataclass(frozen=True)
class Estimate:
    """A measured number and its standard error, from how much passages differ."""

    value: float
    error: float

    @staticmethod
    def of_means(means: Sequence[float]) -> Estimate:
        """The mean of passages of equal length."""
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
        return Estimate(float(np.mean(means)), spread / math.sqrt(len(means)))

    @staticmethod
    def of_shares(hits: Sequence[int], tries: Sequence[int]) -> Estimate | None:
        """All hits by all tries, of passages with different numbers of tries; None without tries.

        Source: the ratio estimator of survey sampling (Cochran, "Sampling Techniques", chapter 6).
        """
        total = sum(tries)
        if not total:
            return None
        share, count = sum(hits) / total, len(tries)
        off = sum((hit - share * tried) ** 2 for hit, tried in zip(hits, tries, strict=True))
        error = math.sqrt(off * count / (count - 1)) / total if count > 1 else math.nan
        return Estimate(share, error)


@dataclass(frozen=True)
class TextFigures:
    """The target on the text, against the reference bundle's target on the same text."""

    perplexity: float
    reference_perplexity: float
    divergence: Estimate
    """KL divergence from the reference, nats per position."""
    worst_divergence: float
    agreement: float
    """Share of positions with the reference's first choice."""
    positions: int

    @property
    def loss(self) -> float:
        """How much perplexity rises on text that the reference writes itself: 0.01 is one per cent.

        A text of other origin may be likelier by chance after rounding; this cannot fall below 0.
        """
        return math.expm1(self.divergence.value)

    @property
    def perplexity_ratio(self) -> float:
        """By the reference's: 1 is no loss."""
        return self.perplexity / self.reference_perplexity


@dataclass(frozen=True)
class DraftFigures:
    """Drafts of one kind: accepted overall, and by position in the round."""

    share: Estimate
    counts: Acceptance
    hits: tuple[int, ...]
    """Drafts accepted in each passage."""

    def lost(self, reference: DraftFigures) -> Estimate:
        """The share accepted less than in the reference, on the same drafts' positions.

        Its error is that of the difference, passage by passage, and so far smaller than the shares' own.
        """
        tries = sum(self.counts.drafted) / len(self.hits)
        pairs = zip(reference.hits, self.hits, strict=True)
        return Estimate.of_means([(theirs - ours) / tries for theirs, ours in pairs])

    @property
    def drafts_a_round(self) -> int:
        """Tokens drafted in a round."""
        return len(self.counts.drafted)

    @property
    def by_position(self) -> tuple[float, ...]:
        """Share accepted of each position."""
        pairs = zip(self.counts.accepted, self.counts.drafted, strict=True)
        return tuple(accepted / drafted for accepted, drafted in pairs)

    @staticmethod
    def of(counts: Sequence[Acceptance]) -> DraftFigures | None:
        """Of one count for each passage; None if nothing was drafted."""
        hits = [sum(count.accepted) for count in counts]
        share = Estimate.of_shares(hits, [sum(count.drafted) for count in counts])
        return None if share is None else DraftFigures(share, _total(counts), tuple(hits))


def _total(counts: Sequence[Acceptance]) -> Acceptance:
    longest = max(len(count.drafted) for count in counts)
    drafted, accepted = np.zeros(longest, int), np.zeros(longest, int)
    for count in counts:
        drafted[: len(count.drafted)] += count.drafted
        accepted[: len(count.accepted)] += count.accepted
    return Acceptance(tuple(map(int, drafted)), tuple(map(int, accepted)))


@dataclass(frozen=True)
class Speed:
    """Tokens per second of the reference runtime, speculating and not, taken in turns."""

    speculative: float | None
    plain: float


@dataclass(frozen=True)
class TensorFigures:
    """How one tensor is stored. ``snr`` in dB is None for a tensor that lost nothing."""

    name: str
    storage: str
    elements: int
    nbytes: int
    """With its scales."""
    snr: float | None

    @property
    def bits(self) -> float:
        """Per element, scales included."""
        return 8 * self.nbytes / self.elements


@dataclass(frozen=True)
class MediumFigures:
    """Pictures or sounds: soft tokens after the adapter and replies, against the reference bundle's."""

    noun: str
    """``picture`` or ``sound``."""
    median: float
    """Relative error of a soft token."""
    worst: float
    tokens: int
    """Soft tokens compared."""
    asked: int
    """Questions that both bundles have answered."""
    same: int
    """Of these, those with the reference's very reply."""
    known: int
    """Questions whose right answer is known."""
    right: int
    """Of these, those whose reply has the right answer in it."""


@dataclass(frozen=True)
class Quality:
    """Everything measured of one bundle."""

    recipe: str
    nbytes: int
    sections: dict[str, int]
    """Bytes of each model section."""
    text: TextFigures
    drafts: DraftFigures | None
    """While continuing the text: what a user gets."""
    paired: DraftFigures | None
    """Drafted from every position of the reference's own continuations, which are the same for all
    recipes: what differs here is the recipe, not the text."""
    speed: Speed
    tensors: tuple[TensorFigures, ...]
    notes: tuple[str, ...] = ()
    media: tuple[MediumFigures, ...] = ()
    """Of what it and the reference take beside text."""

    def lost(self, reference: Quality) -> Estimate | None:
        """The share of paired drafts accepted less than in the reference.

        None where one drafts nothing, or another number of tokens a round: more are drafted in vain then.
        """
        ours, theirs = self.paired, reference.paired
        if ours is None or theirs is None or ours.drafts_a_round != theirs.drafts_a_round:
            return None
        return ours.lost(theirs)

    def notes_beside(self, reference: Quality) -> tuple[str, ...]:
        """Its own notes, and why the drafts of two bundles that draft are not compared."""
        ours, theirs = self.paired, reference.paired
        if ours is None or theirs is None or ours.drafts_a_round == theirs.drafts_a_round:
            return self.notes
        return (
            *self.notes,
            f"it drafts {ours.drafts_a_round} tokens a round and {reference.recipe} "
            f"{theirs.drafts_a_round}, so drafts lost are not told: compare bundles of one --draft-length",
        )

    def medium(self, noun: str) -> MediumFigures | None:
        """Of pictures or of sounds; None where it, or the reference, takes none."""
        return next((found for found in self.media if found.noun == noun), None)

    def worst(self, count: int) -> list[TensorFigures]:
        """The tensors with the lowest signal-to-noise."""
        lossy = [tensor for tensor in self.tensors if tensor.snr is not None]
        return sorted(lossy, key=lambda tensor: tensor.snr or 0.0)[:count]
