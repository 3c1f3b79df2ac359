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

from runtime_py.chat import Json, Message, Setting

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

    def reading(self, setting: Setting, prompt: str) -> Reading:
        """Takes an answer apart that follows ``prompt``, which may have opened a thought."""
        opened = self.thought is not None and prompt.endswith(self.thought.start)
        return Reading(self, tools=bool(setting.tools), thinking=opened)


@dataclass(frozen=True)
class Said:
    """What an answer says, and what else was in it."""

    text: str
    thought: str = ""
    tool_calls: tuple[Json, ...] = ()

    def to_message(self) -> Message:
        """As part of the conversation that goes on."""
        return Message("assistant", self.text, self.tool_calls, self.thought)


class Reading:
    """Takes an answer apart as it grows.

    Args:
        markers: The bundle's.
        tools: Whether the conversation has tools.
        thinking: Whether the answer begins within a thought, which the prompt has opened.
    """

    def __init__(self, markers: Markers, *, tools: bool, thinking: bool = False) -> None:
        self._markers, self._thinking = markers, thinking
        self._spans = [span for span in (markers.thought, markers.call if tools else None) if span]
        self._raw, self._shown = "", 0

    def push(self, piece: str) -> str:
        """The text that became certain with ``piece``: nothing that may turn out to be a marker."""
        self._raw += piece
        text, _, call = self._apart()
        return self._new(text if call else text[: len(text) - self._may_begin(text)])

    def rest(self) -> str:
        """The text that was held back; nothing follows."""
        text, _, call = self._apart()
        return self._new(text + call)

    def said(self) -> Said:
        """The answer so far."""
        text, spans, call = self._apart()
        thought = "".join(inside for span, inside in spans if span is self._markers.thought)
        calls = [
            parsed
            for span, inside in spans
            if span is self._markers.call
            and (parsed := parse_call(inside, self._markers.quote)) is not None
        ]
        return Said(text + call, thought, tuple(calls))

    def _new(self, text: str) -> str:
        piece, self._shown = text[self._shown :], max(self._shown, len(text))
        return piece

    def _apart(self) -> tuple[str, list[tuple[Span, str]], str]:
        """The text, what stands between markers, and a call that has not ended yet.

        A thought that has not ended reaches to the end.
        """
        raw, text, found, at = self._raw, "", list[tuple[Span, str]](), 0
        if self._thinking and self._markers.thought is not None:
            inside, at = _until(raw, 0, self._markers.thought.end)
            found.append((self._markers.thought, inside))
        while True:
            starts = [(raw.find(span.start, at), span) for span in self._spans]
            starts = [(start, span) for start, span in starts if start >= 0]
            if not starts:
                return text + raw[at:], found, ""
            start, span = min(starts, key=lambda entry: entry[0])
            text += raw[at:start]
            if span is self._markers.call and span.end not in raw[start:]:
                return text, found, raw[start:]
            inside, at = _until(raw, start + len(span.start), span.end)
            if span is self._markers.call and parse_call(inside, self._markers.quote) is None:
                text += raw[start:at]
            else:
                found.append((span, inside))

    def _may_begin(self, text: str) -> int:
        """How many of the last characters may be the beginning of a marker."""
        longest = 0
        for span in self._spans:
            for length in range(1, min(len(span.start), len(text) + 1)):
                if span.start.startswith(text[-length:]):
                    longest = max(longest, length)
        return longest


def _until(raw: str, begin: int, end: str) -> tuple[str, int]:
    stop = raw.find(end, begin)
    return (raw[begin:], len(raw)) if stop < 0 else (raw[begin:stop], stop + len(end))


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
