"""Files of conversations, one a line, each in the forms of a chat file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import listed
from exporter.json_text import JsonError, parse_json
from exporter.regular_file import require_text
from runtime_py.chat.chat_file import ChatFileError, parse_chat
from runtime_py.chat.conversation import Conversation

SHOWN = 5
"""Lines that a message about a file names."""


@dataclass(frozen=True)
class ChatLine:
    """A conversation that ends with something to be answered, and what stood there as the answer."""

    number: int
    """Of the line, from 1."""
    conversation: Conversation
    answer: str | None
    """None where there was none, or one that is not a text."""


def read_chat_lines(path: Path) -> tuple[ChatLine, ...]:
    """The conversations of a file, at least one.

    Lines end as editors end them, not at other characters that Unicode takes for the end of a line; a byte
    order mark is no part of the first.

    Raises:
        ChatFileError: The file cannot be read, has no conversation, or lines that are none; lists these.
    """
    try:
        lines = require_text(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ChatFileError(f"{path}: expected conversations as lines of JSON ({error})") from error
    found, problems = list[ChatLine](), list[str]()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_parsed(number, line, path))
            except JsonError as error:
                problems.append(f"line {number}: expected JSON, found {error}")
            except ChatFileError as error:
                problems.append(f"line {number}: {str(error).removeprefix(f'{path}: ')}")
    refuse_lines(path, problems)
    if not found:
        raise ChatFileError(f"{path}: expected a conversation a line, found none")
    return tuple(found)


def refuse_lines(path: Path, problems: list[str]) -> None:
    """Refuse a file for what is wrong with its lines, if anything is.

    Raises:
        ChatFileError: Naming the first of them.
    """
    if problems:
        left = len(problems) - SHOWN
        more = [f"and {left} more lines"] if left > 0 else []
        raise ChatFileError(f"{path}: {listed([*problems[:SHOWN], *more])}")


def _parsed(number: int, line: str, path: Path) -> ChatLine:
    content = parse_json(line.encode())
    whole = content if isinstance(content, dict) else {"messages": content}
    messages, answer = whole.get("messages"), None
    if isinstance(messages, list) and messages and _is_answer(messages[-1]):
        said = messages[-1].get("content")
        answer = said.strip() if isinstance(said, str) and said.strip() else None
        whole = {**whole, "messages": messages[:-1]}
    return ChatLine(number, parse_chat(whole, path), answer)


def _is_answer(message: object) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "assistant"
