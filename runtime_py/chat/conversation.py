"""Conversations as values: who said what, with which tools, and what is still to be answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from exporter.bundle.engine_template import Json, sorted_keys

SHOWN = 40
"""Characters of a message that an error quotes."""

ROOM = "start a new one, or ask for a longer cache with --max-num-tokens (`inspect` shows which are possible)"
"""What to do about a conversation that has no room in the cache."""

ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True)
class Message:
    """One message of a conversation, in the spelling of the engine.

    ``content`` is a text or parts: ``{"type": "text", "text": ...}``, pictures and sounds
    (:mod:`~runtime_py.chat.media`) and, from a tool,
    ``{"type": "tool_response", "name": ..., "response": ...}``. ``tool_calls`` are those the model made, in
    OpenAI's form with arguments as an object. ``thought`` is what it thought before it answered.
    """

    role: str
    content: str | tuple[Json, ...] = ""
    tool_calls: tuple[Json, ...] = ()
    thought: str = ""

    @property
    def beginning(self) -> str:
        """Of its text, so that a user with many prompts knows which it is."""
        content = self.content
        texts = [content] if isinstance(content, str) else [str(p.get("text", "")) for p in content]
        return " ".join(texts)[:SHOWN]

    def to_json(self) -> dict[str, Any]:
        """As the engine and its chat templates want it."""
        content = self.content if isinstance(self.content, str) else list(self.content)
        message: dict[str, Any] = {"role": self.role, "content": content}
        if self.tool_calls:
            message["tool_calls"] = list(self.tool_calls)
        if self.thought:
            message["reasoning_content"] = self.thought
        return message

    def sent(self) -> Message:
        """This message as the engine keeps it once it was sent: with the keys of its maps in order."""
        return Message.from_json(sorted_keys(self.to_json()))

    @staticmethod
    def from_json(value: Json) -> Message:
        """Read back what :meth:`to_json` wrote."""
        content = value["content"]
        return Message(
            value["role"],
            content if isinstance(content, str) else tuple(content),
            tuple(value.get("tool_calls", ())),
            value.get("reasoning_content", ""),
        )


def tool_result(name: str, response: Any) -> Message:
    """What a tool answered: any JSON value."""
    part = {"type": "tool_response", "name": name, "response": response}
    return Message("tool", (part,))


Turn = str | Message
"""What is to be answered: the user's words, or a message."""


def as_message(turn: Turn) -> Message:
    """A turn as a message; plain words are the user's."""
    return Message("user", turn) if isinstance(turn, str) else turn


@dataclass(frozen=True)
class Setting:
    """What a conversation is held with, from its first message on.

    ``tools`` are declarations in OpenAI's form. ``thinking`` is the chat template's switch; None leaves it
    unset.
    """

    tools: tuple[Json, ...] = ()
    thinking: bool | None = None


PLAIN = Setting()
"""No tools, and no word about thinking."""


@dataclass(frozen=True)
class Conversation:
    """What has been said, and the turns that are to be answered one after the other."""

    turns: tuple[Turn, ...]
    history: tuple[Message, ...] = ()
    setting: Setting = PLAIN

    @staticmethod
    def asking(prompt: str) -> Conversation:
        """A conversation of one question."""
        return Conversation((prompt,))

    def with_thinking(self, thinking: bool | None) -> Conversation:
        """The conversation with the switch for thinking set; None leaves it as it is."""
        if thinking is None:
            return self
        return replace(self, setting=replace(self.setting, thinking=thinking))

    def to_json(self) -> dict[str, Any]:
        """As JSON for another process."""
        return {
            "turns": [as_message(turn).to_json() for turn in self.turns],
            "history": [message.to_json() for message in self.history],
            "tools": list(self.setting.tools),
            "thinking": self.setting.thinking,
        }

    @staticmethod
    def from_json(value: Json) -> Conversation:
        """Read back what :meth:`to_json` wrote."""
        return Conversation(
            tuple(map(Message.from_json, value["turns"])),
            tuple(map(Message.from_json, value["history"])),
            Setting(tuple(value["tools"]), value["thinking"]),
        )
