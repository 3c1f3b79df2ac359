"""What ``quantize-report`` says of pictures and sounds: soft tokens, and answers, some of them known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.compare.figures import MediumFigures
from exporter.compare.media import compare_media, observe
from exporter.compare.questions import Question, read_questions
from exporter.compare.report_text import DETAILS
from runtime_py.chat.chat_file import ChatFileError
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
    assert random.notes == ("4 questions are about what it does not take: not asked",)
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
    assert 0.01 < found.median < found.worst < 0.25  # measured: 0.026 and 0.126
    assert (found.asked, found.known) == (6, 0)
    assert compare_media(plain, exact) == compare_media(exact, plain) == ()


@pytest.mark.slow
def test_the_command(planted_bundle: Path, questions: Path) -> None:
    arguments = ("--text", PROMPT_FILE, *PLAN, "--questions", questions)
    done = run("quantize-report", planted_bundle, *arguments)
    assert done.returncode == 0, done.stderr
    header, row = (
        tuple(filter(None, map(str.strip, line.split("  "))))
        for line in done.stdout.split("\n\n")[3].splitlines()
    )
    medium = ("worst", "same reply", "right")
    media = ("picture: soft tokens, median", *medium, "sound: soft tokens, median", *medium)
    assert header == (*DETAILS, *media)
    assert row[-8:] == ("0.00%", "0.00%", "4 of 4", "3 of 4") * 2


def test_questions_are_about_pictures_or_sounds(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text('\n[{"role": "user", "content": "Hello"}]\n', encoding="utf-8")
    with pytest.raises(ChatFileError, match="line 2: expected a picture or a sound in the conv"):
        read_questions(path)


def test_a_right_answer_is_in_the_reply() -> None:
    question = Question(conversation([["Who barks?"]]), "the Fox")
    assert question.is_right("It is the fox.")
    assert not question.is_right("It is a fox.")
    assert not Question(conversation([["Who barks?"]]), None).is_right("")
