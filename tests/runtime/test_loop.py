"""For any drafter, speculative decoding gives the tokens of greedy decoding, and a consistent cache."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime_py.loop.lookup import NO_MATCH, Match
from runtime_py.loop.rounds import Acceptance, Cursor, Finish, Limits, Round
from runtime_py.loop.speculative import DraftPlan, DraftPolicy, Fixed, Greedy, Speaker, generate
from tests.runtime.toys import DRAFTERS, Outcome, ToyExecutor, generated

PROMPT = [1, 2, 3]


def run(
    toy: ToyExecutor,
    drafts: int,
    *,
    max_new_tokens: int = 20,
    stops: frozenset[int] = frozenset(),
    policy: DraftPolicy | None = None,
) -> Outcome:
    limits = Limits(max_new_tokens, stops, toy.cache_length)
    return generated(toy, PROMPT, limits, policy or Fixed(drafts), Greedy())


def toy_with(drafter: str, **options: int) -> ToyExecutor:
    toy = ToyExecutor(**options)
    toy.drafter = DRAFTERS[drafter](toy)
    return toy


@settings(max_examples=150, deadline=None)
@given(
    drafter=st.sampled_from(sorted(DRAFTERS)),
    seed=st.integers(0, 10_000),
    vocab=st.integers(2, 9),
    length=st.integers(1, 6),
    drafts=st.integers(1, 6),
    max_new_tokens=st.integers(1, 60),
    cache_length=st.integers(3, 40),
    stop=st.integers(0, 12),
    at_once=st.booleans(),
)
def test_any_drafter_gives_the_greedy_text(
    drafter: str,
    seed: int,
    vocab: int,
    length: int,
    drafts: int,
    max_new_tokens: int,
    cache_length: int,
    stop: int,
    at_once: bool,
) -> None:
    options = {"seed": seed, "vocab": vocab, "draft_length": length, "cache_length": cache_length}
    stops = frozenset({stop})
    plain = run(toy_with(drafter, **options), 0, max_new_tokens=max_new_tokens, stops=stops)
    options["drafts_at_once"] = length if at_once else 0
    quick = run(toy_with(drafter, **options), drafts, max_new_tokens=max_new_tokens, stops=stops)
    assert quick.tokens == plain.tokens
    assert quick.finish == plain.finish
    assert len(quick.tokens) <= max_new_tokens
    assert stop not in quick.tokens[:-1]
    assert_committed_is_in_the_cache(quick)


def assert_committed_is_in_the_cache(outcome: Outcome) -> None:
    """The rounds say which tokens stand in the cache: prompt, then emitted ones, in order."""
    committed = [*PROMPT[:-1], *outcome.committed]
    assert committed == [*PROMPT, *outcome.tokens][: len(committed)]
    assert outcome.cache[: len(committed)] == committed
    assert len(committed) >= len(PROMPT) + len(outcome.tokens) - 1


@pytest.mark.parametrize("max_new_tokens", range(1, 12))
def test_exactly_as_many_tokens_as_asked_for(max_new_tokens: int) -> None:
    outcome = run(toy_with("perfect"), 3, max_new_tokens=max_new_tokens)
    assert len(outcome.tokens) == max_new_tokens
    assert outcome.finish is Finish.LENGTH


def test_a_perfect_drafter_needs_few_rounds() -> None:
    toy = toy_with("perfect")
    outcome = run(toy, 3, max_new_tokens=21)
    assert toy.calls == {"prefill": 1, "decode": 1, "draft": 15, "verify": 5}
    assert Acceptance.of(outcome.rounds) == Acceptance((5, 5, 5), (5, 5, 5))
    assert Acceptance.of(outcome.rounds).rate == 1.0


def test_full_drafts_are_one_call_where_there_is_one() -> None:
    """Shorter ones, as before the end, are steps."""
    toy = toy_with("perfect", drafts_at_once=3)
    run(toy, 3, max_new_tokens=20)
    assert toy.calls["draft_round"] == 4
    assert toy.calls["draft"] == 4 * 3 + 2
    shorter = toy_with("perfect", drafts_at_once=3)
    run(shorter, 2, max_new_tokens=20)
    assert "draft_round" not in shorter.calls


def test_an_adversarial_drafter_is_never_accepted() -> None:
    outcome = run(toy_with("adversarial"), 2, max_new_tokens=10)
    acceptance = Acceptance.of(outcome.rounds)
    assert acceptance.accepted == (0, 0)
    assert all(len(done.tokens) == 1 for done in outcome.rounds)


def test_acceptance_counts_by_position() -> None:
    rounds = [Round((0,) * (a + 1), (0,) * (a + 1), 3, a, 0.0, 0.0) for a in (0, 1, 3)]
    rounds.append(Round((0,), (0,), 0, 0, 0.0, 0.0))
    assert Acceptance.of(rounds) == Acceptance((3, 3, 3), (2, 1, 1))
    assert Acceptance.of(rounds).rate == pytest.approx(4 / 9)
    assert Acceptance.of([]).rate is None


def test_a_stop_token_inside_an_accepted_draft_is_the_last_thing_committed() -> None:
    toy = toy_with("perfect")
    free = run(toy, 3, max_new_tokens=12)
    inside = next(done for done in free.rounds if done.accepted == 3)
    stop = inside.tokens[1]
    stopped = run(toy_with("perfect"), 3, max_new_tokens=12, stops=frozenset({stop}))
    assert stopped.tokens == free.tokens[: free.tokens.index(stop) + 1]
    assert stopped.finish is Finish.STOP
    assert_committed_is_in_the_cache(stopped)


def test_the_end_of_the_context_is_reached_by_plain_decoding() -> None:
    toy = toy_with("perfect", cache_length=12)
    outcome = run(toy, 3, max_new_tokens=100)
    assert outcome.finish is Finish.CONTEXT
    assert len(outcome.tokens) == 12 - len(PROMPT) + 1  # the last one is not in the cache
    assert toy.calls["decode"] > 1


def test_a_policy_hears_of_every_round() -> None:
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

    policy = Listening()
    outcome = run(toy_with("leading astray"), 0, max_new_tokens=18, policy=policy)
    assert policy.heard == outcome.rounds
    assert outcome.tokens == run(toy_with("perfect"), 0, max_new_tokens=18).tokens


def test_times_are_those_of_the_clock() -> None:
    ticks = iter(range(1000))
    toy = toy_with("perfect")
    cache = toy.new_cache()
    toy.prefill(cache, PROMPT[:-1], 0)
    speaker = Speaker(toy, cache, Greedy(), clock=lambda: float(next(ticks)))
    limits = Limits(9, frozenset(), toy.cache_length)
    rounds = list(generate(speaker, Cursor(2, PROMPT[-1]), limits, Fixed(3)))
    assert [done.seconds for done in rounds] == [1.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        (
            "runtime_py.loop.speculative",
            ("torch", "transformers", "ai_edge_litert", "litert_lm_builder"),
        ),
        (
            "runtime_py.opened_model",
            ("torch", "transformers", "exporter.model.text", "exporter.lowering.lower"),
        ),
        ("runtime_py.reference_run", ("torch", "transformers", "litert_lm", "litert_torch")),
    ],
)
def test_what_is_never_imported(module: str, forbidden: tuple[str, ...]) -> None:
    code = f"import sys, {module}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded.intersection(forbidden)
