"""Questions about pictures and sounds that every bundle is asked.

A user's, one conversation a line, which may end with the right answer; or a few about the pictures and
clips that ``verify`` draws, to which nobody knows one.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import MtpExportError, listed
from exporter.json_text import JsonError, parse_json
from exporter.verify.tower_kind import TowerKind
from runtime_py.chat.chat_file import ChatFileError, parse_chat
from runtime_py.chat.conversation import Conversation, Message
from runtime_py.chat.media import Medium, used_media

PROMPTS = {
    Medium.IMAGE: ("What is in this picture?", "Which colours do you see?", "What is at the left?"),
    Medium.AUDIO: ("What do you hear?", "What made this sound?", "How does it end?"),
}
"""About what is drawn."""


class QuestionsError(MtpExportError):
    """A file is not one of questions about pictures or sounds."""


@dataclass(frozen=True)
class Question:
    """A conversation that ends with a question, and the right answer if it is known."""

    conversation: Conversation
    right: str | None

    @property
    def media(self) -> frozenset[Medium]:
        """What it has in it."""
        return used_media([self.conversation])

    def is_right(self, reply: str) -> bool:
        """Whether a reply has the right answer in it, in large or small letters."""
        return self.right is not None and self.right.casefold() in reply.casefold()


def read_questions(path: Path) -> tuple[Question, ...]:
    """The questions of a file of JSON lines, each of them as a chat file has it.

    Raises:
        QuestionsError: It cannot be read, or lines of it are no questions about a picture or a sound.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionsError(f"{path}: expected a file of JSON lines ({error})") from error
    found, problems = list[Question](), list[str]()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_question(line, path))
            except JsonError as error:
                problems.append(f"line {number}: expected JSON, found {error}")
            except (ValueError, ChatFileError) as error:
                problems.append(f"line {number}: {str(error).removeprefix(f'{path}: ')}")
    if not found and not problems:
        problems.append("expected one conversation a line, found none")
    if problems:
        raise QuestionsError(f"{path}: {listed(problems)}")
    return tuple(found)


def _question(line: str, where: Path) -> Question:
    content = parse_json(line.encode())
    whole = content if isinstance(content, dict) else {"messages": content}
    messages, right = whole.get("messages"), None
    if isinstance(messages, list) and messages and _is_answer(messages[-1]):
        right, whole = messages[-1]["content"].strip(), {**whole, "messages": messages[:-1]}
    question = Question(parse_chat(whole, where), right)
    if not question.media:
        raise ValueError("expected a picture or a sound in the conversation, found text alone")
    return question


def _is_answer(message: object) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") == "assistant"
        and isinstance(message.get("content"), str)
        and bool(message["content"].strip())
    )


def drawn_questions(kinds: Sequence[TowerKind]) -> tuple[Question, ...]:
    """Every one of :data:`PROMPTS` about each picture and each clip."""
    return tuple(
        Question(_about(kind.medium, asked.content, prompt), None)
        for kind in kinds
        for asked in kind.asked()
        for prompt in PROMPTS[kind.medium]
    )


def _about(medium: Medium, content: bytes, prompt: str) -> Conversation:
    part = {"type": medium.value, "blob": base64.b64encode(content).decode()}
    return Conversation((Message("user", (part, {"type": "text", "text": prompt})),))
