"""Chat files in the forms people have them."""

from __future__ import annotations

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


def test_content_in_parts(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read(tmp_path, [{"role": "user", "content": parts}]).turns == (
        Message("user", tuple(parts)),
    )


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
        ({"messages": [USER], "model": "x"}, "unknown key 'model'"),
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
