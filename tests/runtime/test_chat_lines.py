"""Files of conversations, one a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime_py.chat.chat_file import ChatFileError
from runtime_py.chat.chat_lines import read_chat_lines
from runtime_py.chat.conversation import Message

SAID = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Who are you?"},
]


@pytest.mark.parametrize(
    ("last", "answer"),
    [
        ({"role": "assistant", "content": " A bear.\n"}, "A bear."),
        ({"role": "assistant", "content": " "}, None),
        ({"role": "assistant", "content": [{"type": "text", "text": "A bear."}]}, None),
        (None, None),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_at_the_end(
    last: dict[str, Any] | None, answer: str | None, whole: bool, tmp_path: Path
) -> None:
    """It is no part of the conversation; what was said before it is."""
    messages = [*SAID, *([last] if last else [])]
    path = tmp_path / "chats.jsonl"
    path.write_text("\n\n" + json.dumps({"messages": messages} if whole else messages))
    (line,) = read_chat_lines(path)
    assert (line.number, line.answer) == (3, answer)
    assert [message.content for message in line.conversation.history] == ["Hello", "Hi"]
    assert line.conversation.turns == (Message("user", "Who are you?"),)


def test_lines_end_where_editors_end_them(tmp_path: Path) -> None:
    path, text = tmp_path / "chats.jsonl", "one\u2028two\x85three"
    line = json.dumps([{"role": "user", "content": text}], ensure_ascii=False)
    path.write_bytes(f"{line}\r\n{line}\r\n".encode("utf-8-sig"))
    asked = (Message("user", text),)
    assert [one.conversation.turns for one in read_chat_lines(path)] == [asked, asked]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "expected a conversation a line, found none"),
        (f"{json.dumps(SAID)}\nnot json\n", "line 2: expected JSON, found something"),
        ("[" * 200 + "]" * 200, "line 1: expected JSON, found more than 100 levels"),
        ('[{"role": "assistant", "content": "x"}]', "line 1: expected a JSON list of messages"),
        (
            '[{"role": "user", "content": [{"type": "image", "blob": "x"}]}]',
            "line 1: .*expected a picture in base64",
        ),
        ("\n".join(["{}"] * 9), "and 4 more lines"),
    ],
)
def test_what_is_no_conversation(content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(content)
    with pytest.raises(ChatFileError, match=told):
        read_chat_lines(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ChatFileError, match="expected conversations as lines of JSON"):
        read_chat_lines(tmp_path)
