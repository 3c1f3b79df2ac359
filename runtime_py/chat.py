"""Conversations as values: who said what, and what is still to be answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.errors import MtpExportError

ROLES = ("system", "user", "assistant")


class ChatFileError(MtpExportError):
    """A chat file is not a list of messages that ends with a question."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: str
    content: str

    def to_json(self) -> dict[str, str]:
        """As the engine and Hugging Face templates want it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Conversation:
    """What has been said, and the user turns that are to be answered one after the other."""

    turns: tuple[str, ...]
    history: tuple[Message, ...] = ()

    @staticmethod
    def asking(prompt: str) -> Conversation:
        """A conversation of one question."""
        return Conversation((prompt,))

    def to_json(self) -> dict[str, Any]:
        """As JSON for another process."""
        return {"turns": list(self.turns), "history": [m.to_json() for m in self.history]}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Conversation:
        """Read back what :meth:`to_json` wrote."""
        return Conversation(tuple(value["turns"]), tuple(Message(**m) for m in value["history"]))


def read_chat_file(path: Path) -> Conversation:
    """A JSON list of ``{"role", "content"}`` whose last message is the user's.

    Raises:
        ChatFileError: It is something else; the message says what.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ChatFileError(f"{path}: expected a JSON list of messages ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise ChatFileError(
            f"{path}: expected a JSON list of messages, found {type(entries).__name__}"
        )
    messages = [_message(path, index, entry) for index, entry in enumerate(entries)]
    if messages[-1].role != "user":
        raise ChatFileError(
            f"{path}: the last message must be the user's, found {messages[-1].role}"
        )
    return Conversation((messages[-1].content,), tuple(messages[:-1]))


def _message(path: Path, index: int, entry: object) -> Message:
    if isinstance(entry, dict):
        role, content = entry.get("role"), entry.get("content")
        if role in ROLES and isinstance(content, str):
            return Message(role, content)
    raise ChatFileError(
        f"{path}: message {index}: expected a role ({', '.join(ROLES)}) and a content string, found "
        f"{json.dumps(entry)[:80]}"
    )
