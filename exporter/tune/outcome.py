"""What a tuning found, as values that every rendering starts from. Nothing here needs torch.

Drafts are counted as both runtimes count them: along an answer, each round drafts G tokens, keeps those
up to the first that the target would not have chosen, and goes on behind them and one token of the target's
own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from runtime_py.bench.paired import Gain


@dataclass(frozen=True)
class Drafting:
    """What became of the drafts along some answers."""

    rounds: int
    tokens: int
    """Emitted by these rounds: accepted drafts and one more of each round, as far as the answer goes."""
    drafted: tuple[int, ...]
    """By position in the round."""
    accepted: tuple[int, ...]
    accepted_by_full_head: int
    """Drafts that would have been accepted had the drafter scored every token, in rounds of its own."""
    drafted_by_full_head: int

    @property
    def acceptance(self) -> float:
        """Accepted by drafted, the success rate that the engine reports; 0 without drafts."""
        return _share(sum(self.accepted), sum(self.drafted))

    @property
    def by_position(self) -> tuple[float, ...]:
        """Share of all rounds in which the draft at each position was accepted."""
        return tuple(map(_share, self.accepted, self.drafted))

    @property
    def conditional(self) -> tuple[float, ...]:
        """Chance of each position given that the drafts before it were accepted."""
        judged = (self.drafted[:1] + self.accepted)[: len(self.drafted)]
        return tuple(map(_share, self.accepted, judged))

    @property
    def tokens_per_round(self) -> float:
        """How much faster drafting would make it if drafts and their verification cost nothing more."""
        return _share(self.tokens, self.rounds)

    @property
    def lost_to_head(self) -> float:
        """Acceptance that is lost because the centroid head scores some clusters of tokens only."""
        return _share(self.accepted_by_full_head, self.drafted_by_full_head) - self.acceptance

    def to_json(self) -> dict[str, Any]:
        """Counts and what follows from them."""
        return {
            **asdict(self),
            "acceptance": self.acceptance,
            "by_position": self.by_position,
            "conditional": self.conditional,
            "tokens_per_round": self.tokens_per_round,
            "lost_to_head": self.lost_to_head,
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@dataclass(frozen=True)
class Compared:
    """The drafter before and after, on the same answers of the target."""

    before: Drafting
    after: Drafting
    acceptance_gain: Gain
    """In shares of drafts (0.1 is ten points), paired by prompt; as the next."""
    tokens_gain: Gain
    """In tokens a round."""

    @property
    def is_gain(self) -> bool:
        """Whether more drafts are accepted than before, by more than two standard errors."""
        gain = self.acceptance_gain
        return gain.difference > 0 and gain.beyond_noise

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "prompts": self.acceptance_gain.prompts,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "acceptance_gain": _gain(self.acceptance_gain),
            "tokens_gain": _gain(self.tokens_gain),
        }


def _gain(gain: Gain) -> dict[str, Any]:
    return {"value": gain.difference, "error": gain.error}


@dataclass(frozen=True)
class Example:
    """A held-out answer, and which of its tokens were drafts that the target accepted.

    ``tokens`` are texts that together are the answer; ``before`` and ``after`` say of each which
    draft of its round it was (1, 2, ...), or 0 where it came from the target.
    """

    prompt: str
    tokens: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class DataCounts:
    """What became of the prompts."""

    given: int
    duplicates: int
    too_long: int
    """Prompts that leave no room for an answer in the context."""
    looping: int
    """Answers that repeated themselves and were dropped."""
    too_short: int
    """Answers of a token or two, in which nothing can be drafted."""
    cut: int
    """Answers that were kept but ended by the limit of tokens."""
    training_prompts: int
    watched_prompts: int
    """Neither trained on nor reported: they decide when the training ends."""
    held_out_prompts: int
    training_tokens: int
    """Of answers."""
    held_out_tokens: int
    repeated_share: float
    """Share of the held-out answers' stretches of eight tokens that stood in the same answer before. Where
    it is high, drafting is easy, and acceptance says little about other text."""


@dataclass(frozen=True)
class Effort:
    """What the tuning took."""

    steps: int
    planned_steps: int
    epochs: float
    """How often the training answers were gone through."""
    answer_seconds: float
    feature_seconds: float
    training_seconds: float
    """With the evaluations in between; of a resumed tuning, all sessions together."""
    feature_bytes: int
    """On disk."""
    peak_memory_bytes: int
    """Of this process, resident."""
    device: str


@dataclass(frozen=True)
class Reading:
    """The drafter in the middle of the training, on the watched answers."""

    step: int
    acceptance: float
    """From every position, as if each were the start of a round: less noisy than in rounds."""
    loss: float | None
    """Mean of the steps since the last reading; None before the first step."""


@dataclass(frozen=True)
class Speeds:
    """Tokens/s on this machine in the reference runtime, from what single calls cost."""

    round_cost: float
    """Of a round of ``draft_length`` drafts, in decodes."""
    plain: float
    before: float
    after: float
    best_draft_length: int | None
    """To export with, for the stock engine; 0 if MTP is best left off, None where that cannot be said."""


@dataclass(frozen=True)
class TuningOutcome:
    """All that a tuning found."""

    target: str
    drafter: str
    recipe: str
    draft_length: int
    held_out: Compared
    general: Compared | None
    """On prompts that the training had nothing to do with (``--keep``): what was forgotten."""
    speeds: Speeds | None
    """On held-out prompts; None where the bundle that answered makes no rounds of ``draft_length``."""
    data: DataCounts
    effort: Effort
    course: tuple[Reading, ...]
    examples: tuple[Example, ...]
    written: bool
    """Whether there is a tuned drafter: not without a gain, unless it is forced."""

    @property
    def gained(self) -> bool:
        """Whether the tuned drafter is better by more than chance explains."""
        return self.held_out.is_gain

    def to_json(self) -> dict[str, Any]:
        """Everything, as ``--json`` and ``--report FILE.json`` have it."""
        return {
            **asdict(self),
            "held_out": self.held_out.to_json(),
            "general": None if self.general is None else self.general.to_json(),
            "gained": self.gained,
        }
