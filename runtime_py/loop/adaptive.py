"""Drafting only while it pays, from what the session itself has measured.

Four times (a decode, a verify, a draft step, all steps of a full draft) and one chance per draft position
(accepted, given that those before it were) say how many tokens a second each draft length would give; the
policy takes the best, which may be 0. A full draft has a time of its own because it may be one call, which
costs less than so many steps. What is not done is not measured, so now and then it tries the other thing:
the time lost on such trials is counted, and bounded by a fraction of all time.

Drafts that are looked up in the context cost a verify alone. How likely a match goes on depends on how long
it is, and what each round emits says whether the match before it, drafted or not, would have been right: one
chance per length of match is learnt without trials. A match is drafted where that gives more tokens a second
than decoding and the drafter.

To learn anything costs two rounds, a decode where drafting is best and a draft where decoding is. So
the promise, at most 5 % slower than the better of always and never drafting, is for 128 tokens or more
through one opened model, in however many answers: one policy serves them all, and later answers
start from what it knows: of times all, of acceptance little, as the next text may be of another kind. It
holds on average over a text's luck, not for every run: a first draft that is wrong in a text where most
are right puts drafting off for a while.

A policy object, tested by simulation; it knows neither models nor clocks.
"""

from __future__ import annotations

from collections.abc import Collection

from runtime_py.loop.lookup import LONGEST_MATCH, NO_MATCH, Match
from runtime_py.loop.observed import Chance, Times
from runtime_py.loop.rounds import Round, Source
from runtime_py.loop.speculative import DraftPlan

PROMISING = 0.5
"""Drafts of a match that must be expected to be accepted for it to be tried before a verify was timed."""

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


class Adaptive:
    """A :class:`~runtime_py.loop.speculative.DraftPolicy` that chooses from 0 to ``longest`` drafts."""

    def __init__(
        self, longest: int, sources: Collection[Source] = frozenset({Source.DRAFTER})
    ) -> None:
        self._longest = longest
        self._drafts = Source.DRAFTER in sources
        self.looks_up = Source.LOOKUP in sources
        self._decode, self._verify = Times(), Times()
        self._step, self._full = Times(), Times()  # of drafts short of a full one; of a full one
        self._chances = [Chance() for _ in range(longest)]
        self._goes_on = [
            Chance(prior=n / (n + 2)) for n in range(1, LONGEST_MATCH + 1)
        ]  # by length
        self._match = NO_MATCH  # before the round that is observed next
        self._spent = 0.0  # seconds in all rounds
        self._lost = 0.0  # seconds that trials cost over decoding
        self._since_trial = 0  # tokens decoded
        self._since_decode = 0  # rounds drafted
        self._trying = False
        self._try_at_once = 0  # drafts of a trial that should follow the last one

    def begin(self) -> None:
        """Another answer begins: times still hold, acceptance may be quite different."""
        for chance in (*self._chances, *self._goes_on):
            chance.carry_over()
        self._since_trial = max(self._since_trial, TRIAL_SPACING)

    def plan(self, match: Match = NO_MATCH) -> DraftPlan:
        """What to draft in the next round."""
        self._match, self._trying = match if self.looks_up else NO_MATCH, False
        if not self._longest or not self._decode.warm or self._since_decode >= DECODE_SPACING:
            return DraftPlan()
        drafts = self._length() if self._drafts else 0
        if self._match.tokens and not self._trying and self._match_pays(self._match, drafts):
            return DraftPlan(looked_up=match.tokens)
        return DraftPlan(drafts)

    def _match_pays(self, match: Match, drafts: int) -> bool:
        """Whether to draft a match rather than to have so many drafts from the drafter."""
        expected = self._expected(match)
        if not self._verify.warm or (not self._drafts and self._trial_is_due()):
            self._trying = expected > 1 + PROMISING
            return self._trying
        best = max(self.rate(0), self.rate(drafts))
        return expected / self._verify.typical > best * LEAST_GAIN

    def _expected(self, match: Match) -> float:
        """Tokens of a round that drafts a match: each accepted draft makes it longer."""
        tokens, alive = 1.0, 1.0
        for index in range(min(len(match.tokens), self._longest)):
            alive *= self._chance_of(match, index).value
            tokens += alive
        return tokens

    def _chance_of(self, match: Match, index: int) -> Chance:
        return self._goes_on[min(match.length + index, LONGEST_MATCH) - 1]

    def _length(self) -> int:
        """Drafts of the drafter in the next round."""
        if not self._verify.calls:
            self._trying = True
            return self._longest
        best = self.best_length()
        if best:
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
        if not self._drafts:
            return 0.0
        full = drafts == self._longest
        if self._full.calls if full else not self._step.calls:
            return self._full.typical * drafts / self._longest
        return self._step.typical * drafts

    def observe(self, done: Round) -> None:
        """Learn from a round."""
        self._spent += done.seconds
        self._learn_from_match(done)
        if not done.drafted:
            self._decode.add(done.seconds)
            self._since_decode = 0
            self._since_trial += 1
            return
        self._verify.add(done.target_seconds)
        self._since_decode += 1
        if done.source is Source.DRAFTER:
            self._learn_from_drafter(done)
        if self._trying:
            self._learn_from_trial(done)

    def _learn_from_match(self, done: Round) -> None:
        """Whether the match before a round went on as the round did, drafted or not."""
        for index, (guess, token) in enumerate(zip(self._match.tokens, done.tokens, strict=False)):
            chance = self._chance_of(self._match, index)
            chance.fade()
            chance.add(accepted=guess == token)
            if guess != token:
                break

    def _learn_from_drafter(self, done: Round) -> None:
        if done.drafted == self._longest:
            self._full.add(done.draft_seconds)
        else:
            self._step.add(done.draft_seconds / done.drafted)
        for index, chance in enumerate(self._chances[: done.drafted]):
            if index > done.accepted:
                break
            chance.fade()
            chance.add(accepted=index < done.accepted)

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
        more = went_well and self._can_pay() and done.source is Source.DRAFTER
        self._try_at_once = self._longest if more else 0
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
        """Whether drafting would pay if everything were accepted and as quick as its quickest calls lately.

        A single, cold verify does not tell.
        """
        if not self._verify.warm:
            return True
        drafts = self._longest
        drafting = 0.0
        if self._drafts:
            drafting = self._full.best if self._full.calls else drafts * self._step.best
        return (drafts + 1) * self._decode.typical > self._verify.best + drafting
