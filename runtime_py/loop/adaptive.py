"""Drafting only while it pays, from what the session itself has measured.

Four times (a decode, a verify, a draft step, all steps of a full draft) and one chance per draft position
(accepted, given that those before it were) say how many tokens a second each draft length would give; the
policy takes the best, which may be 0. A full draft has a time of its own because it may be one call, which
costs less than so many steps. What is not done is not measured, so now and then it tries the other thing:
the time lost on such trials is counted, and bounded by a fraction of all time.

To learn anything costs two rounds, a decode where drafting is best and a draft where decoding is. So
the promise, at most 5 % slower than the better of always and never drafting, is for 128 tokens or more
through one opened model, in however many answers: one policy serves them all, and later answers
start from what it knows: of times all, of acceptance little, as the next text may be of another kind. It
holds on average over a text's luck, not for every run: a first draft that is wrong in a text where most
are right puts drafting off for a while.

A policy object, tested by simulation; it knows neither models nor clocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from runtime_py.loop.rounds import Round

TIMES_KEPT = 15
"""Measurements a median is taken over: odd, short enough to follow a changing clock rate."""

MEMORY = 28.0
"""Rounds after which an observation of acceptance weighs 1/e: about as long as a paragraph."""

CARRIED_OVER = 3.0
"""Observations an answer takes over from those before it, at most: the next may be of another kind."""

PRIOR_WEIGHT = 1.0
PRIOR_CHANCE = 0.8
"""Stands for one earlier observation at each draft position: drafting gets a chance first."""

TRIAL_BUDGET = 0.02
"""Share of all time that may be lost on drafting while decoding looks better."""

TRIAL_ALLOWANCE = 3.0
"""Decodes' time that may be lost besides: what begins badly may have been bad luck."""

TRIAL_SPACING = 12
"""Tokens decoded between two such trials, at least."""

HOPELESS_SPACING = 200
"""Tokens between two trials where drafting cannot pay whatever is accepted."""

DECODE_SPACING = 96
"""Rounds between two decodes that only measure, while drafting looks better."""

FULL_SPACING = 8
"""Rounds between two full drafts while shorter ones look better: later positions must be judged too."""

LEAST_GAIN = 1.02
"""How much faster another length must look, than decoding or than a full draft: noise is no reason."""


@dataclass
class Times:
    """The latest durations of one kind of call, in seconds.

    The very first, in which LiteRT still allocates, stands in only until there is another.
    """

    latest: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))
    calls: int = 0

    def add(self, seconds: float) -> None:
        """One more."""
        if self.calls == 1:
            self.latest.clear()
        self.latest.append(seconds)
        self.calls += 1

    @property
    def warm(self) -> bool:
        """Whether the durations are those of calls that allocate nothing."""
        return self.calls > 1

    @property
    def typical(self) -> float:
        """The median, which forgives an outlier."""
        return median(self.latest)

    @property
    def best(self) -> float:
        return min(self.latest)


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

    def carry_over(self) -> None:
        """Another answer begins: what is known stays, but weighs little."""
        keep = min(1.0, CARRIED_OVER / self.judged) if self.judged else 1.0
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
    """A :class:`~runtime_py.loop.speculative.DraftPolicy` that chooses from 0 to ``longest`` drafts."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._decode, self._verify = Times(), Times()
        self._step, self._full = Times(), Times()  # of drafts short of a full one; of a full one
        self._chances = [Chance() for _ in range(longest)]
        self._spent = 0.0  # seconds in all rounds
        self._lost = 0.0  # seconds that trials cost over decoding
        self._since_trial = 0  # tokens decoded
        self._since_decode = 0  # rounds drafted
        self._trying = False
        self._try_at_once = 0  # drafts of a trial that should follow the last one

    def begin(self) -> None:
        """Another answer begins: times still hold, acceptance may be quite different."""
        for chance in self._chances:
            chance.carry_over()
        self._since_trial = max(self._since_trial, TRIAL_SPACING)

    def length(self) -> int:
        """Drafts in the next round."""
        self._trying = False
        if not self._longest or not self._decode.warm:
            return 0
        if not self._verify.calls:
            self._trying = True
            return self._longest
        best = self.best_length()
        if best:
            if self._since_decode >= DECODE_SPACING:
                return 0
            return self._longest if self._since_decode % FULL_SPACING == 0 else best
        drafts = self._try_at_once or (1 if self._trial_is_due() else 0)
        self._trying = bool(drafts)
        return drafts

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
        return tokens / (self._verify.typical + self._drafting(drafts))

    def _drafting(self, drafts: int) -> float:
        """Seconds that so many drafts take: a full one may be a single call, others are steps."""
        full = drafts == self._longest
        if self._full.calls if full else not self._step.calls:
            return self._full.typical * drafts / self._longest
        return self._step.typical * drafts

    def observe(self, done: Round) -> None:
        """Learn from a round."""
        self._spent += done.seconds
        if not done.drafted:
            self._decode.add(done.seconds)
            self._since_decode = 0
            self._since_trial += 1
            return
        self._verify.add(done.target_seconds)
        if done.drafted == self._longest:
            self._full.add(done.draft_seconds)
        else:
            self._step.add(done.draft_seconds / done.drafted)
        self._since_decode += 1
        for index, chance in enumerate(self._chances[: done.drafted]):
            if index > done.accepted:
                break
            chance.fade()
            chance.add(accepted=index < done.accepted)
        if self._trying:
            self._learn_from_trial(done)

    def _learn_from_trial(self, done: Round) -> None:
        """Count what it cost, and follow up one that went well by a full draft at once.

        That is one that paid, or whose drafts were accepted: a short draft seldom pays, and the
        first, cold call never does.
        """
        loss = done.seconds - len(done.tokens) * self._decode.typical
        self._lost += max(0.0, loss)
        accepted = 2 * done.accepted > done.drafted
        went_well = loss < 0 or (
            accepted and (done.drafted < self._longest or not self._verify.warm)
        )
        self._try_at_once = self._longest if went_well and self._can_pay() else 0
        self._since_trial = 0

    def _trial_is_due(self) -> bool:
        """A trial must be affordable, and have others some way off.

        Where even a fully accepted draft would be slower than decoding, only times are worth
        measuring again, and seldom.
        """
        decode = self._decode.typical
        cost = self._verify.typical + self._drafting(1) - decode
        allowed = TRIAL_ALLOWANCE * decode + TRIAL_BUDGET * self._spent
        affordable = self._lost + cost <= allowed
        spacing = TRIAL_SPACING if self._can_pay() else HOPELESS_SPACING
        return affordable and self._since_trial >= spacing

    def _can_pay(self) -> bool:
        """Whether drafting would pay if everything were accepted and as quick as it has ever been.

        A single, cold verify does not tell.
        """
        if not self._verify.warm:
            return True
        drafts = self._longest
        drafting = self._full.best if self._full.calls else drafts * self._step.best
        return (drafts + 1) * self._decode.typical > self._verify.best + drafting
