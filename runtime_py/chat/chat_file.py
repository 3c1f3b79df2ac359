"""Chat files: a conversation as JSON, in the forms that OpenAI's API and LiteRT-LM use.

Either a list of messages, or an object with ``messages`` and, if wanted, ``tools`` and ``thinking``. The last
message is the user's or a tool's, and is the one to be answered. A request to OpenAI's API is such an object.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.bundle.engine_template import Json
from exporter.errors import MtpExportError, listed
from exporter.json_text import JsonError, parse_json
from exporter.regular_file import require_text
from runtime_py.chat.conversation import ROLES, Conversation, Message, Setting, tool_result
from runtime_py.chat.media import MediaError
from runtime_py.chat.media_part import MEDIA_PARTS, read_media_part

LAST = ("user", "tool")
PARTS = ("text", "tool_response")
KEYS = {"messages", "tools", "thinking"}
OF_A_REQUEST = {"metadata", "model", "store", "stream", "stream_options", "user"}
"""What requests to OpenAI's API have besides, and what says nothing of the answer."""
OPTIONS = {
    "max_completion_tokens": "--max-new-tokens",
    "max_tokens": "--max-new-tokens",
    "seed": "--seed",
    "temperature": "--temperature",
    "top_k": "--top-k",
    "top_p": "--top-p",
}
"""What such requests have that is an option of the commands."""
SHOWN = 80
"""Characters of an entry that a message quotes."""


class ChatFileError(MtpExportError):
    """A chat file is not a conversation that ends with something to be answered."""


def read_chat_file(path: Path) -> Conversation:
    """The conversation in a file.

    Raises:
        ChatFileError: It is something else; lists everything that is wrong.
    """
    try:
        content = parse_json(require_text(path).read_bytes().removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise ChatFileError(f"{path}: the file cannot be read: {error.strerror}") from error
    except JsonError as error:
        raise ChatFileError(f"{path}: expected a JSON list of messages, found {error}") from error
    return parse_chat(content, path)


def parse_chat(content: object, where: Path) -> Conversation:
    """A conversation from parsed JSON; paths in it are relative to the folder of the file ``where``.

    Raises:
        ChatFileError: As for :func:`read_chat_file`.
    """
    whole = content if isinstance(content, Mapping) else {"messages": content}
    entries = whole.get("messages")
    if not isinstance(entries, list) or not entries:
        raise ChatFileError(
            f"{where}: expected a JSON list of messages, or an object with such a list as `messages`, found "
            f"{_shown(content)}"
        )
    problems = [_unused(key) for key in sorted(set(whole) - KEYS - OF_A_REQUEST)]
    messages = _messages(entries, where.parent, problems)
    setting = _setting(whole, problems)
    if messages and messages[-1].role not in LAST:
        problems.append(
            f"the last message must be the user's or a tool's, found {messages[-1].role}"
        )
    if problems:
        raise ChatFileError(f"{where}: {listed(problems)}")
    return Conversation((messages[-1],), tuple(messages[:-1]), setting)


def _unused(key: str) -> str:
    if option := OPTIONS.get(key):
        return f"{key!r} is not read from a chat file: leave it out, and give {option}"
    return f"unknown key {key!r}"


def _setting(whole: Json, problems: list[str]) -> Setting:
    tools, thinking = whole.get("tools", []), whole.get("thinking")
    if not isinstance(tools, list) or not all(map(_is_tool, tools)):
        problems.append(
            "tools: expected a list of {'type': 'function', 'function': {'name', 'description', "
            f"'parameters'}}}}, found {_shown(tools)}"
        )
        tools = []
    if thinking is not None and not isinstance(thinking, bool):
        problems.append(f"thinking: expected true or false, found {_shown(thinking)}")
    return Setting(tuple(tools), thinking)


def _is_tool(tool: object) -> bool:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return isinstance(function, Mapping) and isinstance(function.get("name"), str)


def _messages(entries: Sequence[object], folder: Path, problems: list[str]) -> list[Message]:
    """Messages in the engine's spelling; tools are named by the call that a result answers."""
    messages: list[Message] = []
    names: dict[str, str] = {}
    for index, entry in enumerate(entries):
        try:
            message = _message(entry, folder, names)
        except (ValueError, MediaError) as error:
            problems.append(f"message {index}: {error}, found {_shown(entry)}")
            continue
        for call in message.tool_calls:
            if "id" in call:
                names[str(call["id"])] = call["function"]["name"]
        messages.append(message)
    return messages


def _message(entry: object, folder: Path, names: Mapping[str, str]) -> Message:
    if not isinstance(entry, Mapping) or entry.get("role") not in ROLES:
        raise ValueError(f"expected a role ({', '.join(ROLES)}) and content")
    content = entry.get("content")
    if entry["role"] == "tool" and not _has_results(content):
        name = entry.get("name") or names.get(str(entry.get("tool_call_id")))
        if not isinstance(name, str):
            raise ValueError("expected a tool's `name`, or a `tool_call_id` of an earlier call")
        return tool_result(name, _text(content, folder))
    called = entry.get("tool_calls") or []
    if not isinstance(called, list):
        raise ValueError("expected tool_calls as a list")
    calls = tuple(map(_call, called))
    thought = entry.get("reasoning_content") or entry.get("reasoning") or ""
    if not isinstance(thought, str):
        raise ValueError("expected a thought as text")
    if content is None and calls:
        content = ""
    return Message(entry["role"], _content(content, folder), calls, thought)


def _has_results(content: object) -> bool:
    return isinstance(content, list) and any(
        isinstance(part, Mapping) and part.get("type") == "tool_response" for part in content
    )


def _content(content: object, folder: Path) -> str | tuple[Json, ...]:
    if isinstance(content, str):
        return content
    parts = [content] if isinstance(content, Mapping) else content
    if not isinstance(parts, list):
        raise ValueError("expected content as text or as parts")
    return tuple(_part(part, folder) for part in parts)


def _part(part: object, folder: Path) -> Json:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(part, Mapping):
        if kind in MEDIA_PARTS:
            return read_media_part(part, folder)
        if kind == "text" and isinstance(part.get("text"), str):
            return part
        if kind == "tool_response" and isinstance(part.get("name"), str) and "response" in part:
            return part
    raise ValueError(
        f"expected content as text or as parts of type {', '.join(PARTS)} or {', '.join(MEDIA_PARTS)}"
    )


def _text(content: object, folder: Path) -> str:
    parts = _content(content, folder)
    if isinstance(parts, str):
        return parts
    if any(part["type"] != "text" for part in parts):
        raise ValueError("expected a tool's answer as text or as parts of type text")
    return "".join(part["text"] for part in parts)


def _call(call: object) -> Json:
    """A call in OpenAI's form, whose arguments may be an object written as text."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueError("expected tool_calls with a function's name and arguments")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments.encode())
        except ValueError as error:
            raise ValueError(f"expected a call's arguments as JSON, found {error}") from error
    if not isinstance(arguments, Mapping):
        raise ValueError("expected a call's arguments as an object")
    assert isinstance(call, Mapping)
    named = {"id": call["id"]} if "id" in call else {}
    return {
        **named,
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def _shown(value: Any) -> str:
    return json.dumps(value)[:SHOWN]
