"""Questions about pictures and sounds that every bundle is asked.

A user's, one conversation a line, which may end with the right answer; or a few about the pictures and
clips that ``verify`` draws, to which nobody knows one.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.verify.tower_kind import TowerKind
from runtime_py.chat.chat_lines import read_chat_lines, refuse_lines
from runtime_py.chat.conversation import Conversation, Message
from runtime_py.chat.media import Medium, used_media

PROMPTS = {
    Medium.IMAGE: ("What is in this picture?", "Which colours do you see?", "What is at the left?"),
    Medium.AUDIO: ("What do you hear?", "What made this sound?", "How does it end?"),
}
"""About what is drawn."""


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
    """The questions of a file of conversations, one a line; an answer at the end of one is the right one.

    Raises:
        ChatFileError: It is no such file, or lines of it have neither a picture nor a sound.
    """
    lines = read_chat_lines(path)
    questions = tuple(Question(line.conversation, line.answer) for line in lines)
    refuse_lines(
        path,
        [
            f"line {line.number}: expected a picture or a sound in the conversation, found text alone"
            for line, question in zip(lines, questions, strict=True)
            if not question.media
        ],
    )
    return questions


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
