"""Drafting only while it pays, from what the session itself has measured.

Three times (a decode, a verify, a draft step) and one chance per draft position (accepted, given that
those before it were) say how many tokens a second each draft length would give; the policy takes the
best, which may be 0. What is not done is not measured, so now and then it tries the other thing: the
time lost on such trials is counted, and bounded by a fraction of all time.

A policy object, tested by simulation; it knows neither models nor clocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from runtime_py.rounds import Round

TIMES_KEPT = 15
"""Measurements a median is taken over: odd, short enough to follow a changing clock rate."""

FIRST_DECODES = 2
FIRST_ROUNDS = 2
"""How often each way is tried before they are compared."""

MEMORY = 24.0
"""Rounds after which an observation of acceptance weighs 1/e: about as long as a paragraph."""

PRIOR_WEIGHT = 1.0
PRIOR_CHANCE = 0.8
"""Stands for one earlier observation at each draft position: drafting gets a chance first."""

TRIAL_BUDGET = 0.02
"""Share of all time that may be lost on drafting while decoding looks better."""

TRIAL_SPACING = 12
"""Tokens decoded between two such trials, at least."""

HOPELESS_SPACING = 200
"""The same where drafting cannot pay whatever is accepted."""

DECODE_SPACING = 96
"""Rounds between two decodes that only measure, while drafting looks better."""

FULL_SPACING = 8
"""Rounds between two full drafts while shorter ones look better: later positions must be judged too."""

LEAST_GAIN = 1.02
"""How much faster another length must look, than decoding or than a full draft: noise is no reason."""


@dataclass
class Times:
    """The latest durations of one kind of call, in seconds."""

    latest: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))
    warm: bool = False

    def add(self, seconds: float) -> None:
        """Add one, unless it is the very first, in which LiteRT still allocates."""
        if self.warm:
            self.latest.append(seconds)
        self.warm = True

    @property
    def typical(self) -> float:
        """The median, which forgives an outlier."""
        return median(self.latest)

    @property
    def best(self) -> float:
        return min(self.latest)

    def __len__(self) -> int:
        return len(self.latest)


@dataclass
class Chance:
    """How often a draft position was accepted when it was judged, recent rounds counting more."""

    judged: float = 0.0
    accepted: float = 0.0

    def fade(self) -> None:
        """One round has passed."""
        keep = 1.0 - 1.0 / MEMORY
        self.judged *= keep
        self.accepted *= keep

    def add(self, *, accepted: bool) -> None:
        """It was judged."""
        self.judged += 1.0
        self.accepted += float(accepted)

    @property
    def value(self) -> float:
        return (self.accepted + PRIOR_WEIGHT * PRIOR_CHANCE) / (self.judged + PRIOR_WEIGHT)


class Adaptive:
    """A :class:`~runtime_py.speculative.DraftPolicy` that chooses from 0 to ``longest`` drafts."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._decode, self._verify, self._draft = Times(), Times(), Times()
        self._chances = [Chance() for _ in range(longest)]
        self._spent = 0.0  # seconds in all rounds
        self._lost = 0.0  # seconds that trials cost over decoding
        self._since_trial = 0  # tokens decoded
        self._since_decode = 0  # rounds drafted
        self._trial_paid = False
        self._trying = False

    def length(self) -> int:
        """Drafts in the next round."""
        self._trying = False
        if not self._longest or len(self._decode) < FIRST_DECODES:
            return 0
        if len(self._verify) < FIRST_ROUNDS:
            return self._longest
        best = self.best_length()
        if best:
            if self._since_decode >= DECODE_SPACING:
                return 0
            return self._longest if self._since_decode % FULL_SPACING == 0 else best
        self._trying = self._trial_is_due()
        return self._longest if self._trying else 0

    def best_length(self) -> int:
        """The draft length that gives the most tokens a second, going by what is known now."""
        rates = [self.rate(drafts) for drafts in range(self._longest + 1)]
        best = max(range(len(rates)), key=rates.__getitem__)
        if rates[best] <= rates[0] * LEAST_GAIN:
            return 0
        return best if rates[best] > rates[-1] * LEAST_GAIN else self._longest

    def rate(self, drafts: int) -> float:
        """Tokens a second to be expected with so many drafts."""
        if not drafts:
            return 1.0 / self._decode.typical
        tokens, alive = 1.0, 1.0
        for chance in self._chances[:drafts]:
            alive *= chance.value
            tokens += alive
        return tokens / (self._verify.typical + drafts * self._draft.typical)

    def observe(self, done: Round) -> None:
        """Learn from a round."""
        self._spent += done.seconds
        if not done.drafted:
            self._decode.add(done.seconds)
            self._since_decode = 0
            self._since_trial += 1
            return
        self._verify.add(done.target_seconds)
        self._draft.add(done.draft_seconds / done.drafted)
        self._since_decode += 1
        for index, chance in enumerate(self._chances[: done.drafted]):
            if index > done.accepted:
                break
            chance.fade()
            chance.add(accepted=index < done.accepted)
        if self._trying:
            loss = done.seconds - len(done.tokens) * self._decode.typical
            self._lost += max(0.0, loss)
            self._trial_paid = loss < 0
            self._since_trial = 0

    def _trial_is_due(self) -> bool:
        """A trial that paid is followed by another; one that did not waits, and must be affordable.

        Where even a fully accepted draft would be slower than decoding, only times are worth
        measuring again, and seldom.
        """
        if self._trial_paid:
            return True
        affordable = self._lost <= TRIAL_BUDGET * self._spent
        spacing = TRIAL_SPACING if self._can_pay() else HOPELESS_SPACING
        return affordable and self._since_trial >= spacing

    def _can_pay(self) -> bool:
        """Whether drafting would pay if everything were accepted and as quick as it has ever been."""
        drafts = self._longest
        seconds = self._verify.best + drafts * self._draft.best
        return (drafts + 1) * self._decode.typical > seconds
