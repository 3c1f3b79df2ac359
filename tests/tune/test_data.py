"""What becomes of the prompts: read, in tokens, without repetitions, shared out, loops left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.tune.answers import Answer, AnswerFile, ends_repeating
from exporter.tune.gain import compare
from exporter.tune.judge import Judged, Walk, walk
from exporter.tune.options import TuneError
from exporter.tune.questions import read_conversations
from exporter.tune.split import counts, repeated_share, split, unique, usable
from runtime_py.bench.paired import Count
from runtime_py.chat.conversation import Message
from tests.tune.random_answers import random_answers

ANSWER = Answer(prompt=(1, 2), tokens=(10, 11, 12, 13, 14, 106), tail=(7, 8, 9))


def test_rounds_along_an_answer() -> None:
    """From 10: 11 and 12, then 13, the target's own. From 13: 14, the end, and 7, which is no part of it."""
    found = walk(ANSWER, [2, 0, 0, 3, 0], 3)
    assert found.accepted == (2, 3)
    assert found.emitted == (3, 2)
    assert found.marks() == (0, 1, 2, 0, 1, 2)
    judged = Judged((found,), (found,), 3, 0.0)
    assert judged.acceptance() == [Count(5, 6)]
    assert judged.tokens_per_round() == [Count(5, 2)]


def test_rounds_of_an_answer_that_was_cut() -> None:
    """Starts behind which a draft cannot be judged are none."""
    cut = replace(ANSWER, tail=())
    assert walk(cut, [0, 0, 0, 1, 1], 3).accepted == (0, 0, 0)
    assert walk(cut, [3, 0, 0, 0, 0], 3).accepted == (3,)


def test_loops() -> None:
    words = [5, 6, 7, 8, 9, 10, 11, 12]
    assert ends_repeating([1, 2, 3, *words * 3])
    assert ends_repeating([1, *[4] * 24])
    assert not ends_repeating([1, *[4] * 23])
    assert not ends_repeating([*words * 2, 1, *words])
    looping = Answer((1,), tuple([4] * 30), ())
    assert looping.loops
    assert not replace(looping, tail=(1, 2, 3)).loops  # it ended by itself
    assert usable([looping, ANSWER, Answer((1,), (10, 106), (1,))]) == [ANSWER]


def test_shares_follow_checksums() -> None:
    """A prompt stays on its side when others come; all are on one side."""
    answers = random_answers(100)
    few, many = split(answers[:60]), split(answers)
    assert [len(s) for s in (few.training, few.watched, few.held_out)] == [32, 8, 20]
    every = {a.prompt for a in (*many.training, *many.watched, *many.held_out)}
    assert every == {answer.prompt for answer in answers}
    assert not set(many.held_out) & {*many.training, *many.watched}
    assert set(many.held_out) & set(answers[:60]) <= set(few.held_out)
    large = split(random_answers(400))
    assert (len(large.held_out), len(large.watched)) == (40, 20)


def test_too_few_prompts() -> None:
    with pytest.raises(TuneError, match=r"expected 48 different prompts .* found 30"):
        split(random_answers(30))


def test_counts() -> None:
    """Every prompt is counted once; an answer that was cut is also on some side."""
    good, bad = random_answers(60), (Answer((1,), (4,) * 30, ()), Answer((2,), (10, 106), (1,)))
    answers = [*good[:59], replace(good[59], tail=()), *bad]
    prompts = [answer.prompt for answer in answers]
    given = [*prompts, prompts[0], None]
    assert unique(given) == prompts
    shares = split(usable(answers))
    found = counts(given, answers, shares)
    assert (found.given, found.duplicates, found.too_long) == (64, 1, 1)
    assert (found.looping, found.too_short, found.cut) == (1, 1, 1)
    kept = found.training_prompts + found.watched_prompts + found.held_out_prompts
    assert found.given == kept + 1 + 1 + 1 + 1
    assert found.training_tokens == sum(len(a.tokens) for a in shares.training)


def test_repeated_share() -> None:
    once = tuple(range(16))
    assert repeated_share([Answer((), once, ())]) == 0
    assert repeated_share([Answer((), once + once, ())]) == pytest.approx(9 / 25)


def test_answers_are_read_as_far_as_they_were_written(tmp_path: Path) -> None:
    file = AnswerFile(tmp_path / "answers.jsonl")
    assert file.read([(1, 2)]) == []
    line = json.dumps({"tokens": ANSWER.tokens, "tail": ANSWER.tail})
    file.path.write_text(f"{line}\n{line[:9]}")
    assert file.read([(1, 2), (3,)]) == [ANSWER]
    assert file.path.read_text() == f"{line}\n"
    for damaged in ("{}", "[]", "x", '{"tokens": 5, "tail": []}'):
        file.path.write_text(f"{damaged}\n")
        with pytest.raises(TuneError, match=r"answers\.jsonl: .* --resume asks again"):
            file.read([(1, 2)])


def test_conversations(tmp_path: Path) -> None:
    """The last answer is left out, what was said before it is not."""
    file = tmp_path / "chats.jsonl"
    said = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "A bear."},
    ]
    file.write_text("\n".join(json.dumps(one) for one in (said, {"messages": said[:1]})) + "\n\n")
    first, second = read_conversations(file)
    assert [message.content for message in first.history] == ["Hello", "Hi"]
    assert first.turns == (Message("user", "Who are you?"),)
    assert second.turns == (Message("user", "Hello"),)


def test_a_gain_is_more_than_its_noise() -> None:
    """The error itself is tested with ``runtime_py.bench.paired``."""
    before = judged(0, 1, 1, 2, 0, 1)
    better = compare(before, judged(1, 2, 2, 3, 1, 2))
    assert better.acceptance_gain.difference == pytest.approx(1 / 3)
    assert better.tokens_gain.difference == pytest.approx(1)
    assert better.acceptance_gain.error == pytest.approx(0)
    assert better.is_gain
    worse = compare(judged(1, 2, 2, 3, 1, 2), before)
    assert not worse.is_gain
    assert worse.acceptance_gain.beyond_noise
    assert not compare(before, judged(1, 0, 2, 1, 1, 1)).acceptance_gain.beyond_noise
    assert not compare(judged(0, 0), judged(3, 3)).is_gain  # two prompts say nothing


def judged(*accepted: int) -> Judged:
    """Of answers with ten rounds each, in all of which so many of three drafts were accepted."""
    walks = tuple(Walk((n + 1,) * 10, (n,) * 10) for n in accepted)
    return Judged(walks, walks, 3, 0.0)
