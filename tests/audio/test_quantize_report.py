"""What ``quantize-report`` says of pictures and sounds: soft tokens, and answers, some of them known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.compare.figures import MediumFigures
from exporter.compare.media import compare_media, observe
from exporter.compare.questions import Question, QuestionsError, read_questions
from exporter.compare.report_text import HEADER
from tests.audio.bundles import HERD, SEEN
from tests.bundles import PROMPT_FILE
from tests.command import run
from tests.vision.asking import NEW_TOKENS, QUESTIONS, conversation

PLAN = ("--passages", "4", "--passage-length", "16", "--prompt-tokens", "8", "--new-tokens", "16")
WRONG = "The dog eats bones."


def lines(clips: Path) -> list[list[dict[str, Any]]]:
    """A question about each tone and each colour with its answer, and one about both with a wrong one."""

    def asked(parts: list[Any], right: str) -> list[dict[str, Any]]:
        (turn,) = conversation([parts]).turns
        assert not isinstance(turn, str)
        return [turn.to_json(), {"role": "assistant", "content": right.upper()}]

    found = []
    for files, animals in (("{}.wav", HERD), ("{}.png", SEEN)):
        for name, animal in animals.items():
            question, right = next(iter(QUESTIONS[animal].items()))
            before, after = question.split("{}")
            found.append(asked([before, clips / files.format(name), after], right))
    return [*found, asked([clips / "low.wav", clips / "red.png", "What does it eat?"], WRONG)]


@pytest.fixture(scope="module")
def questions(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("asked") / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines(clips))), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("random_pair", ["own"], indirect=True)
def test_answers_that_are_known(
    planted_bundle: Path, random_pair: tuple[Path, Path], questions: Path
) -> None:
    """The planted towers give them; a random tower beside the text model that does gives none."""
    asked = read_questions(questions)
    planted = observe(planted_bundle, asked, NEW_TOKENS, 2)
    pictures, sounds = compare_media(planted, planted)
    assert pictures == MediumFigures("picture", 0.0, 0.0, pictures.tokens, 4, 4, 4, 3)
    assert sounds == MediumFigures("sound", 0.0, 0.0, 67, 4, 4, 4, 3)
    random = observe(random_pair[1], asked, NEW_TOKENS, 2)
    (found,) = compare_media(random, planted)
    assert (found.noun, found.asked, found.same, found.known, found.right) == ("sound", 3, 0, 3, 0)
    assert found.median > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("random_pair", ["own"], indirect=True)
def test_what_a_recipe_does(
    random_pair: tuple[Path, Path], int8_pair: tuple[Path, Path], plain_bundle: Path
) -> None:
    """Nothing is said of a bundle that takes text alone; what is drawn is asked about without a file."""
    exact, rounded, plain = (
        observe(bundle, (), 8, 2) for bundle in (random_pair[1], int8_pair[1], plain_bundle)
    )
    (found,) = compare_media(rounded, exact)
    assert 0.01 < found.median < found.worst < 0.5
    assert (found.asked, found.known) == (6, 0)
    assert compare_media(plain, exact) == compare_media(exact, plain) == ()


@pytest.mark.slow
def test_the_command(planted_bundle: Path, questions: Path) -> None:
    arguments = ("--text", PROMPT_FILE, *PLAN, "--questions", questions)
    done = run("quantize-report", planted_bundle, *arguments)
    assert done.returncode == 0, done.stderr
    header, row = (
        tuple(filter(None, map(str.strip, line.split("  "))))
        for line in done.stdout.splitlines()[2:4]
    )
    medium = ("worst", "same reply", "right")
    media = ("picture: soft tokens, median", *medium, "sound: soft tokens, median", *medium)
    assert header == (*HEADER, *media)
    assert row[-8:] == ("0.00%", "0.00%", "4 of 4", "3 of 4") * 2


BLOB = {"type": "image", "blob": "x"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "expected one conversation a line, found none"),
        ("{", "line 1: expected JSON, found something else"),
        ("\n" + "[" * 2000, "line 2: expected JSON, found more than 100 levels"),
        ('[{"role": "user", "content": "Hello"}]', "expected a picture or a sound in the conv"),
        (json.dumps([{"role": "user", "content": [BLOB]}]), "expected a picture in base64"),
        ('[{"role": "assistant", "content": "Hello"}]', "expected a JSON list of messages"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(QuestionsError, match=words):
        read_questions(path)
    with pytest.raises(QuestionsError, match="expected a file of JSON lines"):
        read_questions(tmp_path)


def test_a_separator_of_unicode_ends_no_line(clips: Path, tmp_path: Path) -> None:
    picture = {"type": "image", "path": str(clips / "red.png")}
    parts = [{"type": "text", "text": "What is\u2028this?"}, picture]
    asked = [{"role": "user", "content": parts}, {"role": "assistant", "content": "a fox\n"}]
    path = tmp_path / "asked.jsonl"
    path.write_text(json.dumps(asked, ensure_ascii=False), encoding="utf-8")
    (question,) = read_questions(path)
    assert question.right == "a fox"


def test_a_right_answer_is_in_the_reply() -> None:
    question = Question(conversation([["Who barks?"]]), "the Fox")
    assert question.is_right("It is the fox.")
    assert not question.is_right("It is a fox.")
    assert not Question(conversation([["Who barks?"]]), None).is_right("")
