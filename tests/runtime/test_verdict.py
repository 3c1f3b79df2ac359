"""The verdict on MTP: what is concluded from known costs and counts, and that words say it, to the edges."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isclose

import pytest

from runtime_py.bench.curve import Known
from runtime_py.bench.drafts import Drafts
from runtime_py.bench.paired import Count, Estimate, paired_gain
from runtime_py.bench.verdict import Length, Outcome, Speed, judge
from runtime_py.bench.verdict_text import as_json, told
from runtime_py.loop.rounds import Acceptance

ROUNDS = 20


def drafts_of(*accepted: int, prompts: int = 8, drafted: int = ROUNDS) -> Drafts:
    """Every prompt alike: of 20 rounds of drafts so many were accepted at each position."""
    counts = [Acceptance((drafted,) * len(accepted), accepted)] * prompts
    found = Drafts.of(counts, len(accepted))
    assert found is not None
    return found


def known_of(drafts: Drafts, accepted: tuple[float, ...], verify: float = 15.1) -> Known:
    """E2B's costs on a CPU: a verify of 4 takes 1.51 decodes, a draft step 0.07."""
    return Known(drafts.length, 10.0, 0.7, verify, accepted)


def near(length: Length | None, drafts: int, speed_up: float) -> bool:
    return length is not None and length.drafts == drafts and isclose(length.speed_up, speed_up)


class TestDrafts:
    """What counts become."""

    def test_shares_and_tokens(self) -> None:
        found = drafts_of(16, 12, 3)
        assert found.positions == (0.8, 0.6, 0.15)
        assert found.accepted == pytest.approx(31 / 60)
        assert found.tokens.value == pytest.approx(1 + 0.8 + 0.6 + 0.15)
        assert found.tokens.error == 0

    def test_the_error_is_that_of_prompts(self) -> None:
        """One prompt has all drafts right, one none: 1 + 3 x 0.5 tokens, and residuals of 0.75."""
        counts = [Acceptance((10,) * 3, (10,) * 3), Acceptance((10,) * 3, (0,) * 3)]
        found = Drafts.of(counts, 3)
        assert found is not None
        assert found.tokens == Estimate(2.5, 1.5, 2)  # root of 2 (0.75^2 + 0.75^2)

    def test_answers_that_drafted_less_or_nothing(self) -> None:
        counts = [Acceptance((), ()), Acceptance((1,), (1,)), Acceptance((4, 4), (4, 2))]
        found = Drafts.of(counts, 3)
        assert found is not None
        assert (found.positions, found.tokens.prompts) == ((1.0, 0.5), 2)
        assert found.tokens.value == 1 + 1 + 0.5 + 0.25  # the third draft as likely as the second
        assert Drafts.of([Acceptance((), ())], 3) is None
        assert Drafts.of([], 3) is None

    def test_a_rate_alone_tells_tokens_but_no_positions(self) -> None:
        found = Drafts.of_rate(0.5, 3, prompts=9)
        assert found is not None
        assert (found.tokens.value, found.positions) == (2.5, ())
        assert Drafts.of_rate(None, 3, 9) is None


class TestFromCosts:
    """Where single calls were measured."""

    def test_a_draft_length_beyond_those_that_are_estimated(self) -> None:
        """As long as `export --draft-length` allows; all of 15 drafts are right."""
        drafts = drafts_of(*[ROUNDS] * 15)
        verdict = judge(drafts, known_of(drafts, (1.0,) * 15))
        assert verdict.speed is not None
        assert verdict.speed.value == pytest.approx(16 / (1.51 + 15 * 0.07))
        assert near(verdict.best, 15, verdict.speed.value)
        assert near(verdict.auto, 15, verdict.speed.value)

    def test_a_good_drafter_pays(self) -> None:
        drafts = drafts_of(18, 16, 14)
        verdict = judge(drafts, known_of(drafts, (0.9, 0.89, 0.875)))
        assert verdict.outcome is Outcome.PAYS
        assert verdict.round_cost == pytest.approx(1.72)
        assert verdict.speed is not None
        assert verdict.speed.value == pytest.approx(3.4 / 1.72)
        assert near(verdict.best, 3, 3.4 / 1.72)
        assert "ship with MTP on" in told(verdict)
        assert "by position 1: 90%, 2: 80%, 3: 70%" in told(verdict)

    def test_a_poor_one_does_not(self) -> None:
        drafts = drafts_of(4, 2, 0)
        verdict = judge(drafts, known_of(drafts, (0.2, 0.5, 0.0)))
        assert verdict.outcome is Outcome.LOSES
        assert (verdict.best, verdict.auto) == (Length(0, 1.0), Length(0, 1.0))
        text = told(verdict)
        assert "10% of drafts accepted" in text
        assert "a round costs 1.72 decodes: MTP is 0.76 times as fast as plain decoding" in text
        assert "ship with MTP off, or adapt the drafter" in text
        assert "`mtp-export tune`" in text
        assert "`--draft-length auto` stops drafting by itself" in text

    def test_where_only_the_first_draft_is_right_one_is_best(self) -> None:
        """A verify that hardly costs more than a decode, and dear drafts: one draft pays, three do not."""
        drafts = drafts_of(18, 0, 0)
        verdict = judge(drafts, Known(3, 10.0, 4.0, 11.0, (0.9, 0.0, 0.0)))
        assert verdict.outcome is Outcome.LOSES
        assert near(verdict.best, 1, 19 / 15)
        assert near(verdict.auto, 1, 19 / 15)
        text = told(verdict)
        assert "export with --draft-length 1: 1.27 or more" in text
        assert "drafts 1 (1.27) by itself" in text
        assert "MTP off" not in text

    def test_a_longer_draft_is_suggested_only_as_a_trial(self) -> None:
        drafts = drafts_of(20, 20, 20)
        verdict = judge(drafts, known_of(drafts, (1.0, 1.0, 1.0), verify=11.0))
        assert near(verdict.best, 3, 4 / 1.31)
        assert verdict.perhaps is not None
        assert verdict.perhaps.drafts == 8
        assert "--draft-length 8 might reach" in told(verdict)

    def test_costs_that_vary_from_turn_to_turn_leave_it_open(self) -> None:
        drafts = drafts_of(18, 16, 14)
        known = replace(known_of(drafts, (0.9, 0.89, 0.875)), spread=(1.2, 3.5))
        verdict = judge(drafts, known)
        assert verdict.outcome is Outcome.UNCLEAR
        assert verdict.speed is not None
        assert verdict.speed.low == pytest.approx(3.4 / 3.5)
        assert verdict.speed.high == pytest.approx(3.4 / 1.2)

    def test_none_accepted_and_all_accepted(self) -> None:
        none, every = drafts_of(0, 0, 0), drafts_of(20, 20, 20)
        assert judge(none, known_of(none, (0.0, 0.0, 0.0))).outcome is Outcome.LOSES
        assert judge(every, known_of(every, (1.0, 1.0, 1.0))).outcome is Outcome.PAYS

    def test_nothing_gained_is_neither(self) -> None:
        drafts = drafts_of(20, 20, 20)
        verdict = judge(drafts, known_of(drafts, (1.0, 1.0, 1.0), verify=37.9))
        assert verdict.outcome is Outcome.EVEN
        assert (
            "no difference: ship with MTP off; were every draft accepted, it would be 1.00."
            in told(verdict)
        )

    def test_good_drafts_are_not_sent_to_be_tuned(self) -> None:
        """9 of 10 are right and a round costs as much as it emits; all of them would be 1.07."""
        drafts = drafts_of(18, 18, 18)
        verdict = judge(drafts, known_of(drafts, (0.9, 1.0, 1.0), verify=35.3))
        assert verdict.outcome is Outcome.EVEN
        assert verdict.ceiling == pytest.approx(1.07, abs=0.005)
        assert "no difference: ship with MTP off." in told(verdict)

    def test_a_length_that_is_hardly_better_is_not_worth_an_export(self) -> None:
        drafts = drafts_of(18, 16, 2)
        verdict = judge(drafts, known_of(drafts, (0.9, 0.9, 0.1)))
        assert 2.71 / 1.65 > 2.791 / 1.72  # 2 drafts would be faster than 3, by 1 %
        assert verdict.best is not None
        assert verdict.best.drafts == 3

    def test_a_length_that_might_be_hardly_better_is_not_suggested(self) -> None:
        drafts = drafts_of(18, 16, 15)
        verdict = judge(drafts, known_of(drafts, (0.9, 0.9, 0.9)))  # 6: by 7 %
        assert verdict.perhaps is None

    def test_prompts_that_disagree_leave_it_open(self) -> None:
        drafts = drafts_that_disagree()
        verdict = judge(drafts, known_of(drafts, (0.5, 1.0, 1.0)))
        assert verdict.outcome is Outcome.UNCLEAR
        assert "give more prompts" in told(verdict)

    @pytest.mark.parametrize("accepted", [(0, 0, 0), (20, 20, 20)])
    def test_one_answer_concludes_nothing(self, accepted: tuple[int, ...]) -> None:
        drafts = drafts_of(*accepted, prompts=1)
        verdict = judge(drafts, known_of(drafts, tuple(a / 20 for a in accepted)))
        assert verdict.outcome is Outcome.TOO_FEW
        assert (verdict.best, verdict.auto) == (None, None)
        assert "Fewer than 6 prompts conclude nothing" in told(verdict)


def drafts_that_disagree() -> Drafts:
    """Half of the prompts have every draft right, half none: 2.5 tokens a round, give or take 1.1."""
    counts = [Acceptance((9,) * 3, (9 * (n % 2),) * 3) for n in range(8)]
    drafts = Drafts.of(counts, 3)
    assert drafts is not None
    return drafts


def speeds(off: float, on: list[float]) -> Speed | None:
    """Answers of 100 tokens at so many tokens/s."""
    return Speed.of_pairs(
        paired_gain([Count(100, 100 / off)] * len(on), [Count(100, 100 / rate) for rate in on])
    )


class TestMeasured:
    """Where both sides were run; the stock engine tells a share and no positions."""

    def test_it_says_what_a_round_cost(self) -> None:
        verdict = judge(Drafts.of_rate(0.1, 3, 8), measured=speeds(10.0, [6.5] * 8))
        assert verdict.outcome is Outcome.LOSES
        assert verdict.round_cost == pytest.approx(1.3 / 0.65)
        assert verdict.best is None
        assert (
            "a round costs 2.00 decodes: MTP is 0.65 times as fast as plain decoding (measured"
            in told(verdict)
        )

    def test_noise_between_answers(self) -> None:
        rates = [6.0, 18.0] * 4
        assert (
            judge(Drafts.of_rate(0.4, 3, 8), measured=speeds(8, rates)).outcome is Outcome.UNCLEAR
        )
        assert judge(Drafts.of_rate(0.4, 3, 8), measured=speeds(4, rates)).outcome is Outcome.PAYS

    def test_a_ratio_near_1_is_no_difference_only_if_it_is_known_well(self) -> None:
        drafts = drafts_of(18, 16, 14)
        assert judge(drafts, measured=Speed(1.02, 0.9, 1.1)).outcome is Outcome.EVEN
        assert judge(drafts, measured=Speed(1.02, 0.7, 1.3)).outcome is Outcome.UNCLEAR

    def test_other_prompts_would_differ_more_than_rounds_do(self) -> None:
        speed = Speed.of_rounds(1.5, 1.4, 1.6, drafts_that_disagree())
        noise = 1.5 * 2 * (8 * 8 / 7 * (1.5 / 8) ** 2) ** 0.5 / 2.5
        assert (speed.low, speed.high) == pytest.approx((1.5 - noise, 1.5 + noise))

    def test_one_short_answer(self) -> None:
        verdict = judge(Drafts.of_rate(1.0, 3, 1), measured=speeds(10, [30]))
        assert verdict.outcome is Outcome.TOO_FEW

    def test_it_counts_more_than_costs_and_other_lengths_follow_it(self) -> None:
        drafts = drafts_of(18, 16, 14)
        known = known_of(drafts, (0.9, 0.89, 0.875))
        verdict = judge(drafts, known, Speed.of_rounds(1.5, 1.4, 1.6, drafts))
        assert verdict.speed == Speed(1.5, 1.4, 1.6)
        assert verdict.best == Length(3, 1.5)
        half = judge(drafts, known, Speed.of_rounds(0.6, 0.5, 1.1, drafts))
        assert (half.outcome, half.best) == (Outcome.UNCLEAR, Length(0, 1.0))

    def test_adaptive_drafting_is_measured_as_such(self) -> None:
        """It drafted in two of eight answers; all eight were timed."""
        counts = [Acceptance((5, 1), (1, 0)), *[Acceptance((), ())] * 6, Acceptance((5,), (0,))]
        drafts = Drafts.of(counts, 3, adaptive=True)
        verdict = judge(drafts, measured=speeds(10, [9.9] * 8))
        assert (verdict.outcome, verdict.round_cost) == (Outcome.EVEN, None)
        assert "as many as `--draft-length auto` made: MTP is 0.99 times" in told(verdict)
        assert "stock engine drafts in every round" in told(verdict)

    def test_nothing_timed(self) -> None:
        assert Speed.of_pairs(paired_gain([Count(0, 0)], [Count(1, 1)])) is None


class TestWithout:
    """Costs, drafts, a drafter."""

    def test_without_costs_tokens_bound_what_a_round_may_cost(self) -> None:
        verdict = judge(drafts_of(18, 16, 14))
        assert verdict.outcome is Outcome.NO_COSTS
        assert "pays where a round costs less than 3.40 decodes" in told(verdict)
        assert "`mtp-export bench`" in told(verdict)

    def test_a_round_that_emits_one_token_never_pays(self) -> None:
        verdict = judge(drafts_of(0, 0, 0))
        assert verdict.outcome is Outcome.LOSES
        assert "MTP does not pay, whatever a round costs: ship with MTP off" in told(verdict)
        assert judge(drafts_of(0, 0, 0, prompts=1)).outcome is Outcome.TOO_FEW

    def test_without_drafts(self) -> None:
        assert judge(None).outcome is Outcome.NOTHING_DRAFTED
        assert "nothing was drafted" in told(judge(None))
        assert judge(None, drafter=False).outcome is Outcome.NO_DRAFTER
        assert "no drafter" in told(judge(None, drafter=False))


def test_json_is_plain() -> None:
    drafts = drafts_of(18, 16, 14, prompts=1)
    for verdict in (judge(None), judge(drafts), judge(drafts, known_of(drafts, (0.9, 0.9, 0.9)))):
        assert json.loads(json.dumps(as_json(verdict), allow_nan=False))["outcome"]
    assert as_json(replace(judge(None), drafts=drafts))["drafts"]["positions"] == (0.9, 0.8, 0.7)
