"""For any drafters, sequences generated together are those generated one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime_py.batch_run import InOrder
from runtime_py.loop.batch_loop import Batch, Progress, Running
from runtime_py.loop.lookup import NO_MATCH, Match
from runtime_py.loop.rounds import Cursor, Finish, Limits, Round
from runtime_py.loop.sampling import Sampler, SamplingSettings
from runtime_py.loop.speculative import Chooser, DraftPlan, DraftPolicy, Fixed, Greedy
from tests.runtime.toys import DRAFTERS, Outcome, ToyBatch, ToyCache, ToyExecutor, generated

VOCABULARY = 5


@dataclass(frozen=True)
class Question:
    """A sequence to be generated."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    stop: int
    seed: int | None = None
    """Of the sampler; None is greedy."""

    def limits(self, cache_length: int) -> Limits:
        return Limits(self.max_new_tokens, frozenset({self.stop}), cache_length)

    def chooser(self) -> Chooser:
        return Greedy() if self.seed is None else Sampler(SamplingSettings(seed=self.seed))


def alone(toy: ToyExecutor, question: Question, drafts: int) -> Outcome:
    """The question's answer by the loop for one sequence."""
    limits = question.limits(toy.cache_length)
    return generated(toy, question.prompt, limits, Fixed(drafts), question.chooser())


def together(
    executor: ToyBatch,
    questions: Sequence[Question],
    policy: DraftPolicy,
    rows: int | None = None,
) -> list[Outcome]:
    """Their answers by the batched loop."""
    outcomes = [Outcome() for _ in questions]

    def waiting() -> Iterator[Running[ToyCache]]:
        for key, question in enumerate(questions):
            cache = executor.new_cache()
            executor.prefill(cache, question.prompt[:-1], 0)
            outcomes[key].cache = cache.slots
            start = Cursor(len(question.prompt) - 1, question.prompt[-1])
            limits = question.limits(executor.cache_length)
            yield Running(key, cache, start, limits, question.chooser())

    for progress in Batch(executor, policy, time.perf_counter, rows).generate(waiting()):
        note(outcomes[progress.key], progress)
    return outcomes


def note(outcome: Outcome, progress: Progress) -> None:
    assert outcome.finish is None, "a sequence went on after its end"
    if progress.done is not None:
        outcome.rounds.append(progress.done)
    outcome.finish = progress.finish


def toys(drafter: str, **options: int) -> Callable[[], ToyExecutor]:
    def make() -> ToyExecutor:
        toy = ToyExecutor(vocab=VOCABULARY, **options)
        toy.drafter = DRAFTERS[drafter](toy)
        return toy

    return make


QUESTIONS = st.lists(
    st.builds(
        Question,
        prompt=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=9).map(tuple),
        max_new_tokens=st.integers(0, 40),
        stop=st.integers(0, 2 * VOCABULARY),
        seed=st.none() | st.integers(0, 99),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=200, deadline=None)
@given(
    questions=QUESTIONS,
    drafter=st.sampled_from(sorted(DRAFTERS)),
    seed=st.integers(0, 1000),
    batch=st.integers(1, 8),
    rows=st.none() | st.integers(1, 8),
    length=st.integers(1, 5),
    drafts=st.integers(0, 5),
    cache_length=st.integers(9, 30),
)
def test_neighbours_change_nothing(
    questions: list[Question],
    drafter: str,
    seed: int,
    batch: int,
    rows: int | None,
    length: int,
    drafts: int,
    cache_length: int,
) -> None:
    """Tokens, reasons to end and caches are those of each question alone, sampled ones too."""
    make = toys(drafter, seed=seed, draft_length=length, cache_length=cache_length)
    found = together(ToyBatch(make, batch), questions, Fixed(drafts), rows)
    for question, outcome in zip(questions, found, strict=True):
        expected = alone(make(), question, drafts)
        assert outcome.tokens == expected.tokens
        assert outcome.finish == expected.finish
        assert outcome.committed == expected.committed
        used = len(question.prompt) - 1 + len(outcome.committed)
        assert outcome.cache[:used] == expected.cache[:used]
        assert outcome.cache[:used] == [*question.prompt[:-1], *outcome.committed]


def ask(count: int, new_tokens: int = 12) -> list[Question]:
    """Questions of different lengths that end by ``max_new_tokens`` alone."""
    return [Question((1, 2, 3, 4)[: 1 + n % 4], new_tokens, stop=-1) for n in range(count)]


def test_drafts_are_verified_together() -> None:
    """A perfect drafter: after the first tokens, 3 verifies of 4 give 12 more to all of 3."""
    executor = ToyBatch(toys("perfect"), 3)
    together(executor, ask(3, new_tokens=13), Fixed(3))
    assert executor.fed == [("decode", 3), *([("draft", 3)] * 3 + [("verify", 3)]) * 3]


def test_a_sequence_that_ends_makes_room() -> None:
    executor = ToyBatch(toys("perfect"), 2)
    questions = [Question((1, 2), tokens, stop=-1) for tokens in (2, 9, 4, 3)]
    found = together(executor, questions, Fixed(0))
    assert [len(outcome.tokens) for outcome in found] == [2, 9, 4, 3]
    assert executor.fed == [("decode", 2)] * 9  # 2 then 4 then 3 tokens, beside the 9


def test_a_newcomer_rides_along_in_a_verify() -> None:
    """It has no hidden state to draft from, but its token goes through the same call."""
    executor = ToyBatch(toys("perfect"), 2)
    questions = [Question((1, 2), tokens, stop=-1) for tokens in (2, 20, 6)]
    together(executor, questions, Fixed(3))
    assert ("draft", 1) in executor.fed
    assert [count for call, count in executor.fed if call == "verify"][:2] == [2, 2]


def test_at_the_end_of_its_context_a_sequence_decodes_beside_the_others() -> None:
    executor = ToyBatch(toys("perfect", cache_length=20), 2)
    questions = [Question((1,) * 9, 40, stop=-1), Question((1,), 40, stop=-1)]
    found = together(executor, questions, Fixed(3))
    assert [outcome.finish for outcome in found] == [Finish.CONTEXT] * 2
    assert [len(outcome.tokens) for outcome in found] == [12, 20]
    assert ("verify", 1) in executor.fed
    assert ("decode", 1) in executor.fed


def test_the_policy_hears_of_every_call_once() -> None:
    class Listening:
        looks_up = False

        def __init__(self) -> None:
            self.heard: list[Round] = []

        def begin(self) -> None:
            assert not self.heard

        def plan(self, match: Match = NO_MATCH) -> DraftPlan:
            return DraftPlan(len(self.heard) % 3)

        def observe(self, done: Round) -> None:
            self.heard.append(done)

    policy, executor = Listening(), ToyBatch(toys("leading astray"), 4)
    together(executor, ask(6), policy)
    calls = [call for call, _ in executor.fed if call != "draft"]
    assert len(policy.heard) == len(calls)
    drafted = [bool(done.drafted) for done in policy.heard]
    assert drafted == [call == "verify" for call in calls]


@pytest.mark.parametrize("drafts", [0, 3])
def test_a_calls_seconds_are_shared(drafts: int) -> None:
    ticks = iter(range(10_000))
    executor = ToyBatch(toys("perfect"), 4)

    def waiting() -> Iterator[Running[ToyCache]]:
        for key in range(4):
            limits = Limits(9, frozenset(), executor.cache_length)
            yield Running(key, executor.new_cache(), Cursor(0, 1), limits, Greedy())

    batch = Batch(executor, Fixed(drafts), lambda: float(next(ticks)))
    progress = list(batch.generate(waiting()))
    assert {one.shared_by for one in progress} == {4}
    calls = sum(call != "draft" for call, _ in executor.fed)
    spent = sum(one.done.target_seconds / one.shared_by for one in progress if one.done)
    assert spent == pytest.approx(calls)


def test_texts_are_shown_in_order() -> None:
    shown: list[str] = []
    order = InOrder(lambda piece: shown.append("\n" if piece is None else piece))
    order.push(1, "b")
    order.push(0, "a")
    order.push(2, "c")
    order.end(1)
    assert shown == ["a"]
    order.push(0, "A")
    order.end(0)
    assert "".join(shown) == "aA\nb\nc"
    order.end(2)
    assert "".join(shown) == "aA\nb\nc\n"
