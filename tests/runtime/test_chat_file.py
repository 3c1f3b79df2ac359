"""Chat files in the forms people have them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from runtime_py.chat.chat_file import ChatFileError, read_chat_file
from runtime_py.chat.conversation import Conversation, Message, Setting, tool_result

USER = {"role": "user", "content": "How is the weather?"}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Looks it up."}}
CALLING = {
    "role": "assistant",
    "content": None,
    "reasoning": "Hm.",
    "tool_calls": [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Bern"}'},
        }
    ],
}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Bern"}},
}


def read(tmp_path: Path, content: Any) -> Conversation:
    path = tmp_path / "chat.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_chat_file(path)


def test_a_list_of_messages(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    expected = Conversation(
        (Message("user", USER["content"]),), (Message("system", "Be brief."),), Setting()
    )
    assert read(tmp_path, [system, USER]) == expected
    assert read(tmp_path, {"messages": [system, USER]}) == expected
    assert read(tmp_path, {"model": "x", "messages": [system, USER], "stream": True}) == expected
    assert (
        read(tmp_path, "\ufeff" + json.dumps([system, USER])) == expected
    )  # some editors begin so


def test_content_in_parts(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read(tmp_path, [{"role": "user", "content": parts}]).turns == (
        Message("user", tuple(parts)),
    )


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
"""A PNG of one pixel, in base64."""
SOUND = base64.b64encode(b"RIFF\0\0\0\0WAVE").decode()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "path": "deeper/a.png"},
        {"type": "image", "blob": PIXEL},
        {"type": "image_url", "image_url": {"url": "deeper/a.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": f"data:image/png;base64,{PIXEL}"},
        {"type": "image_url", "image_url": {"url": "file:///ROOT/deeper/a.png"}},
        {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}},
        {"type": "audio", "blob": SOUND},
    ],
)
def test_pictures_and_sounds_become_the_engines(tmp_path: Path, part: dict[str, Any]) -> None:
    """Wherever they stand; paths are relative to the chat file."""
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "a.png").write_bytes(base64.b64decode(PIXEL))
    part = json.loads(json.dumps(part).replace("/ROOT", str(tmp_path)))
    asked = {"role": "user", "content": [{"type": "text", "text": "Look:"}, part]}
    chat = read(tmp_path, [asked, {"role": "assistant", "content": "I see."}, asked])
    first, last = chat.history[0], chat.turns[0]
    assert isinstance(last, Message)
    assert first == last
    heard = "audio" in part["type"]
    named = "a.png" in json.dumps(part)
    assert last.content[1] == {
        "type": "audio" if heard else "image",
        **(
            {"path": str(tmp_path / "deeper/a.png")}
            if named
            else {"blob": SOUND if heard else PIXEL}
        ),
    }


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "image", "path": "none.png"}, "none.png: the file cannot be read"),
        ({"type": "image", "path": "chat.json"}, "chat.json: expected a PNG or JPEG"),
        ({"type": "image"}, "expected {'type': 'image', 'path' or 'blob'}"),
        ({"type": "image", "path": "x", "blob": "y"}, "'path' or 'blob'"),
        ({"type": "image", "blob": "!"}, "expected a picture in base64"),
        ({"type": "audio", "blob": PIXEL}, "expected a WAV, FLAC or MP3 file"),
        ({"type": "image_url", "image_url": {}}, "expected {'type': 'image_url'"),
        ({"type": "image_url", "image_url": {"url": "https://x/a.png"}}, "nothing is downloaded"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png,x"}},
            "expected an address data:",
        ),
        ({"type": "input_audio", "input_audio": {"url": "x"}}, "expected {'type': 'input_audio'"),
    ],
)
def test_parts_that_are_no_picture_or_sound(
    tmp_path: Path, part: dict[str, Any], said: str
) -> None:
    with pytest.raises(ChatFileError) as refused:
        read(tmp_path, [{"role": "user", "content": [part]}])
    assert "chat.json: message 0: " in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize("named", [{"tool_call_id": "c1"}, {"name": "get_weather"}])
def test_openais_tool_results_become_the_engines(tmp_path: Path, named: dict[str, str]) -> None:
    result = {"role": "tool", "content": "clear", **named}
    chat = {"messages": [USER, CALLING, result], "tools": [TOOL], "thinking": True}
    expected = Conversation(
        (tool_result("get_weather", "clear"),),
        (Message("user", USER["content"]), Message("assistant", "", (CALL,), "Hm.")),
        Setting((TOOL,), True),
    )
    assert read(tmp_path, chat) == expected


def test_the_engines_tool_results_are_kept(tmp_path: Path) -> None:
    part = {"type": "tool_response", "name": "get_weather", "response": {"sky": "clear"}}
    chat = read(tmp_path, [USER, CALLING, {"role": "tool", "content": [part]}])
    assert chat.turns == (tool_result("get_weather", {"sky": "clear"}),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "expected a JSON list of messages"),
        ("[" * 100_000, "expected a JSON list of messages"),
        ([], "expected a JSON list of messages"),
        ({"message": [USER]}, "expected a JSON list of messages"),
        ([{"role": "robot", "content": "x"}], "message 0: expected a role"),
        ([{"role": "user", "content": 5}], "message 0: expected content as text or as parts"),
        ([{"role": "user", "content": [{"type": "video"}]}], "message 0: expected content"),
        ([USER, {"role": "assistant", "content": "x"}], "the last message must be the user's"),
        ([USER, {"role": "tool", "content": "x"}], "a tool's `name`, or a `tool_call_id`"),
        ({"messages": [USER], "tools": [{"name": "f"}]}, "tools: expected a list of"),
        ({"messages": [USER], "tools": {}}, "tools: expected a list of"),
        ({"messages": [USER], "thinking": "yes"}, "thinking: expected true or false"),
        ({"messages": [USER], "modle": "x"}, "unknown key 'modle'"),
        ({"messages": [USER], "temperature": 1}, "leave it out, and give --temperature"),
        ([{**USER, "tool_calls": 5}], "message 0: expected tool_calls as a list"),
        (
            [
                USER,
                {**CALLING, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
                USER,
            ],
            "message 1: expected a call's arguments as JSON",
        ),
    ],
)
def test_what_is_no_conversation_is_named(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(ChatFileError) as refused:
        read(tmp_path, content)
    assert said in str(refused.value)
    assert "chat.json" in str(refused.value)
