"""Prompt lookup: what it finds, that no text depends on it, and that its drafts are counted apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime_py.litert.hardware import Hardware
from runtime_py.loop.adaptive import Adaptive
from runtime_py.loop.lookup import LONGEST_MATCH, NO_MATCH, Match, PromptLookup
from runtime_py.loop.rounds import Acceptance, Limits, Round, Source
from runtime_py.loop.speculative import DraftPlan, DraftPolicy, Fixed, Greedy
from runtime_py.opened_model import open_model
from tests.bundles import PROMPT_FILE
from tests.runtime.toys import DRAFTERS, ToyExecutor, generated

DRAFTS = 3


def match(text: str, drafts: int = DRAFTS) -> tuple[int, str]:
    """What the letters of a text match."""
    found = PromptLookup(map(ord, text), drafts).match()
    return found.length, "".join(map(chr, found.tokens))


@pytest.mark.parametrize(
    ("text", "length", "follows"),
    [
        ("", 0, ""),
        ("abc", 0, ""),
        ("abcda", 1, "bcd"),
        ("the cat. the c", 5, "at."),
        ("abx.cdy.ab", 2, "x.c"),
        ("xab1 yab2 ab", 2, "2 a"),  # the latest of equals
        ("zab1 yab2 zab", 3, "1 y"),  # the longest before the latest
        ("ab1 a2 b3 ab", 2, "1 a"),  # where the match so far ends, too
        ("ababab", 4, "aba"),  # goes on beyond the end
        ("aaa", 2, "aaa"),
        ("123456789 123456789", LONGEST_MATCH, " 12"),
    ],
)
def test_what_followed_last_time(text: str, length: int, follows: str) -> None:
    assert match(text) == (length, follows)


def test_a_match_is_kept_while_it_goes_on() -> None:
    """Copying the first of two passages does not jump to the second where both have three letters."""
    lookup = PromptLookup(map(ord, "abcde1 cde2 ab"), DRAFTS)
    for letter, follows in zip("cde", ("de1", "e1 ", "1 c"), strict=True):
        lookup.extend([ord(letter)])
        assert "".join(map(chr, lookup.match().tokens)) == follows
    lookup.extend(map(ord, "2"))  # it was the second after all
    assert "".join(map(chr, lookup.match().tokens)) == " ab"


def test_nothing_is_drafted_from_a_picture() -> None:
    assert PromptLookup([5, 6, 7, -1, -2, 8, 5, 6], DRAFTS).match() == Match(2, (7,))
    assert PromptLookup([5, 6, -1, -2, 8, 5, 6], DRAFTS).match() == NO_MATCH


@settings(max_examples=200, deadline=None)
@given(
    tokens=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    pushed=st.integers(0, 30),
    drafts=st.integers(1, 6),
)
def test_a_match_is_where_the_latest_tokens_stood(
    tokens: list[int], pushed: int, drafts: int
) -> None:
    lookup = PromptLookup(tokens[:pushed], drafts)
    lookup.extend(tokens[pushed:])
    found = lookup.match()
    assert (found == NO_MATCH) == (tokens[-1] not in tokens[:-1])
    ends = range(1, len(tokens))
    assert found == NO_MATCH or found in [stood(tokens, end, drafts) for end in ends]


def stood(tokens: list[int], end: int, drafts: int) -> Match:
    """The match of the latest tokens with those before ``end``, a letter at a time."""
    now, follows = len(tokens), list(tokens)
    length = 0
    while length < min(end, LONGEST_MATCH) and tokens[end - length - 1] == tokens[now - length - 1]:
        length += 1
    for index in range(drafts):
        follows.append(follows[end + index])
    return Match(length, tuple(follows[now:]))


class Whim:
    """Now the drafter, now the context, now neither; and what each round did."""

    looks_up = True

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  a test
        self.planned: list[DraftPlan] = []

    def begin(self) -> None:
        assert not self.planned

    def plan(self, match: Match = NO_MATCH) -> DraftPlan:
        drafts = self._random.randrange(5)
        looked_up = match.tokens if self._random.random() < 0.6 else ()
        self.planned.append(DraftPlan(drafts, looked_up))
        return self.planned[-1]

    def observe(self, done: Round) -> None:
        if done.source is Source.LOOKUP:
            assert done.drafted <= len(self.planned[-1].looked_up)


POLICIES: dict[str, Callable[[int], DraftPolicy]] = {
    "whim": Whim,
    "lookup": lambda seed: Fixed(DRAFTS, Source.LOOKUP),
    "adaptive": lambda seed: Adaptive(6, frozenset(Source)),
    "adaptive, no drafter": lambda seed: Adaptive(6, frozenset({Source.LOOKUP})),
}


@settings(max_examples=200, deadline=None)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    prompt=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    drafter=st.sampled_from(sorted(DRAFTERS)),
    seed=st.integers(0, 10_000),
    memory=st.integers(1, 3),
    length=st.integers(1, 6),
    max_new_tokens=st.integers(1, 60),
    cache_length=st.integers(12, 60),
    stop=st.integers(0, 9),
)
def test_no_text_depends_on_what_is_looked_up(
    policy: str,
    prompt: list[int],
    drafter: str,
    seed: int,
    memory: int,
    length: int,
    max_new_tokens: int,
    cache_length: int,
    stop: int,
) -> None:
    """Whatever the context and the model are. The toy itself raises where a cache would be inconsistent."""

    def tokens(choice: DraftPolicy) -> list[int]:
        toy = ToyExecutor(5, cache_length, length, seed, memory)
        toy.drafter = DRAFTERS[drafter](toy)
        limits = Limits(max_new_tokens, frozenset({stop}), cache_length)
        outcome = generated(toy, prompt, limits, choice, Greedy())
        return [len(outcome.committed), *outcome.tokens]

    found, plain = tokens(POLICIES[policy](seed)), tokens(Fixed(0))
    assert found[1:] == plain[1:]


def looked_up(policy: DraftPolicy, drafter: str = "adversarial") -> list[Round]:
    """Sixty tokens of a toy that soon repeats itself."""
    toy = ToyExecutor(vocab=5, cache_length=100, memory=1)
    toy.drafter = DRAFTERS[drafter](toy)
    return generated(toy, [1, 2], Limits(60, frozenset(), 100), policy, Greedy()).rounds


def test_repeated_text_needs_few_rounds_and_no_drafter() -> None:
    rounds = looked_up(Fixed(DRAFTS, Source.LOOKUP))
    assert len(rounds) < 25
    assert Acceptance.of(rounds, Source.LOOKUP).rate > 0.9  # type: ignore[operator]


def test_each_source_is_counted_for_itself() -> None:
    """Drafts of the context, nearly all right, say nothing of a drafter that is always wrong."""
    rounds = looked_up(Whim(1))
    assert {done.source for done in rounds if done.drafted} == set(Source)
    drafted = sum(done.drafted for done in rounds)
    drafter, context = Acceptance.of(rounds), Acceptance.of(rounds, Source.LOOKUP)
    assert sum(drafter.drafted) + sum(context.drafted) == drafted
    assert drafter.rate == 0.0
    assert context.rate is not None
    assert context.rate > 0.8


def paid(policy: DraftPolicy, text: str, cost: tuple[float, float, float], seed: int) -> float:
    """Seconds of 400 tokens. ``text`` says, token by token, who drafts it right: ``d``, ``c``, ``b``oth.

    A match is always there, three tokens long where the context is right and one where it is not.
    """
    decode, verify, draft = cost
    noise = Random(seed)  # noqa: S311  a test
    spent, done = 0.0, 0
    policy.begin()
    while done < 400:
        ahead = [text[at % len(text)] for at in range(done, done + DRAFTS)]
        shown = Match(3 if ahead[0] in "cb" else 1, tuple(int(who in "cb") for who in ahead))
        plan = policy.plan(shown)
        source = Source.LOOKUP if plan.looked_up else Source.DRAFTER
        drafts = len(plan.looked_up) or plan.drafts
        right = "cb" if plan.looked_up else "db"
        accepted = next((n for n in range(drafts) if ahead[n] not in right), drafts)
        factor = 0.9 + 0.2 * noise.random()
        drafting = 0.0 if plan.looked_up else drafts * draft
        times = (drafting * factor, (verify if drafts else decode) * factor)
        tokens = (1,) * (accepted + 1)  # a match of zeros is wrong
        policy.observe(Round(tokens, tokens, drafts, accepted, *times, source))
        spent += sum(times)
        done += len(tokens)
    return spent


TEXTS = {
    "copied": "c",
    "new": "n",
    "drafter only": "d",
    "both right": "b",
    "edited": "cccccccccccccccn",
    "half quoted": "c" * 40 + "n" * 40,
    "quoted, drafter elsewhere": "c" * 40 + "d" * 40,
}
COSTS = {
    "E2B": (0.042, 0.064, 0.0033),
    "slow drafter": (0.042, 0.064, 0.02),
    "tiny": (0.00031, 0.00048, 0.00014),
    "verify never pays": (0.010, 0.045, 0.001),
}


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("text", TEXTS)
def test_both_sources_are_hardly_slower_than_the_best_single_choice(text: str, cost: str) -> None:
    def seconds(policy: Callable[[], DraftPolicy]) -> float:
        return sum(paid(policy(), TEXTS[text], COSTS[cost], seed) for seed in range(4))

    choices = (Fixed(0), Fixed(DRAFTS), Fixed(DRAFTS, Source.LOOKUP))
    best = min(seconds(lambda choice=choice: choice) for choice in choices)  # type: ignore[misc]
    assert seconds(lambda: Adaptive(DRAFTS, frozenset(Source))) <= 1.05 * best
    without = min(seconds(lambda: choices[0]), seconds(lambda: choices[2]))
    assert seconds(lambda: Adaptive(DRAFTS, frozenset({Source.LOOKUP}))) <= 1.05 * without


def test_each_source_where_it_is_better() -> None:
    """Quotes from the context and the drafter's words in turn: both together beat either."""
    seconds = {
        sources: paid(
            Adaptive(DRAFTS, sources), TEXTS["quoted, drafter elsewhere"], COSTS["E2B"], 0
        )
        for sources in (frozenset(Source), *(frozenset({source}) for source in Source))
    }
    alone = [spent for sources, spent in seconds.items() if len(sources) == 1]
    assert seconds[frozenset(Source)] < 0.8 * min(alone)


def test_copying_with_a_bundle(tiny_bundles: dict[str, Path]) -> None:
    """The tiny pair copies a story: a verify for four tokens, and the drafter is never asked."""
    prompt = next(line for line in PROMPT_FILE.read_text().splitlines() if "Repeat this" in line)
    with open_model(tiny_bundles["float32"], Hardware(threads=1)) as model:
        plain, copied = (
            model.session(policy=model.policy(drafts, sources={Source.LOOKUP})).answer(prompt, 60)
            for drafts in (0, DRAFTS)
        )
    assert copied.tokens == plain.tokens
    assert len(copied.rounds) < len(plain.rounds) / 2.5
    assert not copied.acceptance.drafted
