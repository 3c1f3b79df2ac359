"""An answer taken apart as the engine takes it apart: text, thought and tool calls.

The bundle's metadata says how a thought begins and ends and how a call does. Calls are read only where the
conversation has tools; without, they are text like any other, and so are calls that do not end or that
cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.bundle.engine_template import Json
from runtime_py.chat.conversation import Message, Setting

CALL = re.compile(r"call:\s*([\w.\-]+)\s*(\{.*\})", re.DOTALL)
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Span:
    """Text between two markers that is not part of what the user reads."""

    start: str
    end: str


@dataclass(frozen=True)
class Markers:
    """How a bundle's answers mark what is not text.

    ``quote`` surrounds texts within a call.
    """

    thought: Span | None
    call: Span
    quote: str

    @staticmethod
    def of(metadata: Any) -> Markers:
        """Those of the engine's ``LlmMetadata``; what it leaves out has Gemma's names."""
        gemma = metadata.llm_model_type.gemma4
        channels = [Span(channel.start, channel.end) for channel in metadata.channels]
        return Markers(
            channels[0] if channels else None,
            Span(gemma.code_fence_start or "<|tool_call>", gemma.code_fence_end or "<tool_call|>"),
            gemma.open_quote or '<|"|>',
        )

    def reading(self, setting: Setting, prompt: str) -> ReplyReading:
        """Takes an answer apart that follows ``prompt``, which may have opened a thought."""
        opened = self.thought is not None and prompt.endswith(self.thought.start)
        return ReplyReading(self, tools=bool(setting.tools), thinking=opened)


@dataclass(frozen=True)
class Said:
    """What an answer says, and what else was in it."""

    text: str
    thought: str = ""
    tool_calls: tuple[Json, ...] = ()

    def to_message(self) -> Message:
        """As part of the conversation that goes on."""
        return Message("assistant", self.text, self.tool_calls, self.thought)


class ReplyReading:
    """Takes an answer apart as it grows.

    Args:
        markers: The bundle's.
        tools: Whether the conversation has tools.
        thinking: Whether the answer begins within a thought, which the prompt has opened.
    """

    def __init__(self, markers: Markers, *, tools: bool, thinking: bool = False) -> None:
        self._markers = markers
        self._spans = [span for span in (markers.thought, markers.call if tools else None) if span]
        self._texts, self._thoughts, self._calls = list[str](), list[str](), list[Json]()
        opened = markers.thought if thinking else None
        self._open = opened.start if opened else ""  # what has come and is not settled yet

    def push(self, piece: str) -> str:
        """The text that became certain with ``piece``: nothing that may turn out to be a marker."""
        self._open += piece
        before = len(self._texts)
        while self._settle():
            pass
        return "".join(self._texts[before:])

    def rest(self) -> str:
        """The text that was held back; nothing follows."""
        return self._unsettled()[0]

    def said(self) -> Said:
        """The answer so far."""
        text, thought = self._unsettled()
        return Said(
            "".join(self._texts) + text, "".join(self._thoughts) + thought, tuple(self._calls)
        )

    def _settle(self) -> bool:
        """Settle text up to the next marker and the span it begins; false where more must come."""
        starts = [(self._open.find(span.start), span) for span in self._spans]
        found = [(at, span) for at, span in starts if at >= 0]
        if not found:
            certain = len(self._open) - self._may_begin()
            self._texts.append(self._open[:certain])
            self._open = self._open[certain:]
            return False
        at, span = min(found, key=lambda entry: entry[0])
        self._texts.append(self._open[:at])
        self._open = self._open[at:]
        inside, end, after = self._open[len(span.start) :].partition(span.end)
        if not end:
            return False
        self._close(span, inside)
        self._open = after
        return True

    def _close(self, span: Span, inside: str) -> None:
        if span is self._markers.thought:
            self._thoughts.append(inside)
        elif (call := parse_call(inside, self._markers.quote)) is not None:
            self._calls.append(call)
        else:
            self._texts.append(span.start + inside + span.end)

    def _unsettled(self) -> tuple[str, str]:
        """What is open, as the text or the thought that it is if nothing more comes."""
        thought = self._markers.thought
        if thought is not None and self._open.startswith(thought.start):
            return "", self._open.removeprefix(thought.start)
        return self._open, ""

    def _may_begin(self) -> int:
        """How many of the last characters may be the beginning of a marker."""
        longest = max((len(span.start) for span in self._spans), default=1)
        tails = (self._open[-length:] for length in range(min(longest - 1, len(self._open)), 0, -1))
        begins = (t for t in tails if any(span.start.startswith(t) for span in self._spans))
        return len(next(begins, ""))


def parse_call(text: str, quote: str) -> Json | None:
    """A call in OpenAI's form from ``call:name{key:value,...}``; None if it is not one."""
    found = CALL.fullmatch(text.strip())
    if found is None:
        return None
    try:
        arguments, end = _value(found[2], 0, quote)
    except (ValueError, IndexError, RecursionError):
        return None
    if end != len(found[2]) or not isinstance(arguments, Mapping):
        return None
    return {"type": "function", "function": {"name": found[1], "arguments": arguments}}


def _value(text: str, at: int, quote: str) -> tuple[Any, int]:
    """The value that begins at ``at``, and where it ends."""
    if text.startswith(quote, at):
        begin = at + len(quote)
        end = text.index(quote, begin)
        return text[begin:end], end + len(quote)
    if text[at] == "{":
        return _object(text, at + 1, quote)
    if text[at] == "[":
        return _list(text, at + 1, quote)
    for word, meaning in WORDS.items():
        if text.startswith(word, at):
            return meaning, at + len(word)
    number = NUMBER.match(text, at)
    if number is None:
        raise ValueError(f"no value at {at}")
    whole = number[1] is None and number[2] is None
    return (int if whole else float)(number[0]), number.end()


def _object(text: str, at: int, quote: str) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while text[at] != "}":
        if text.startswith(quote, at):
            key, at = _value(text, at, quote)
            at = text.index(":", at)
        else:
            end = text.index(":", at)
            key, at = text[at:end].strip(), end
        found[key], at = _value(text, at + 1, quote)
        at = _next(text, at, "}")
    return found, at + 1


def _list(text: str, at: int, quote: str) -> tuple[list[Any], int]:
    found: list[Any] = []
    while text[at] != "]":
        value, at = _value(text, at, quote)
        found.append(value)
        at = _next(text, at, "]")
    return found, at + 1


def _next(text: str, at: int, end: str) -> int:
    """Where the next entry begins, or the end that follows the last."""
    if text[at] == ",":
        return at + 1
    if text[at] != end:
        raise ValueError(f"neither a comma nor {end} at {at}")
    return at
