"""Conversations that a chat template is tried on, as an app gives them to the engine and to transformers.

They hold what apps send: plain questions, system prompts, history, parts, thoughts, tools, pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from exporter.bundle.engine_template import Json

Messages = tuple[Json, ...]


STOPS_FOR_TOOL = "<|tool_response>"
"""With this token the model stops and waits for a tool. The engine never processes it, so it must come with
the tool's answer."""


@dataclass(frozen=True)
class Sample:
    """One conversation; ``transformers`` holds every spelling of it that a template may know."""

    name: str
    engine: Messages
    transformers: tuple[Messages, ...]
    tools: tuple[Json, ...] = ()
    thinking: bool | None = None
    shows: str = ""
    """Text that a spelling must show to count: a template that does not know it leaves it out."""

    @property
    def has_result(self) -> bool:
        """Whether a message of this conversation is a tool's answer."""
        return any(message["role"] == "tool" for message in self.engine)

    def histories(self) -> Iterator[Messages]:
        """What the engine has rendered before the last message comes: up to each of the model's turns."""
        for end, message in enumerate(self.engine[:-1], start=1):
            if message["role"] in ("assistant", "system"):
                yield self.engine[:end]


def _said(role: str, text: str) -> Json:
    return {"role": role, "content": text}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _same(name: str, *messages: Json, thinking: bool | None = None, shows: str = "") -> Sample:
    """A conversation that is spelled alike on both sides."""
    return Sample(name, messages, (messages,), thinking=thinking, shows=shows)


SYSTEM = _said("system", "  You are a terse\nhelper. ")
QUESTION = _said("user", " What is\n\n2 + 2?  ")
ANSWER = _said("assistant", "It is **4**.")
NEXT = _said("user", "And 3 + 3? <b>&amp; \"quoted\" 'é' 🦊")

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Looks up the weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city."},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "days": {"type": "integer", "description": "How many.", "nullable": True},
                "hours": {"type": "array", "items": {"type": "integer"}},
                "place": {
                    "type": "object",
                    "properties": {"zip": {"type": "string", "description": "Code."}},
                    "required": ["zip"],
                },
            },
            "required": ["city", "days"],
        },
    },
}
CLOCK: Json = {"type": "function", "function": {"name": "now", "description": "Tells the time."}}

CALL: Json = {
    "id": "call_1",
    "type": "function",
    "function": {
        "name": "get_weather",
        "arguments": {"unit": "celsius", "city": "Bern", "days": 2, "hours": [6, 18], "wind": True},
    },
}
REPORT = {"degrees": [21, 9], "sky": "clear", "storm": False}
ASK_WEATHER = _said("user", "How is the weather in Bern?")
SUMMARY = "Clear, 21 degrees."


def _calling(**more: Any) -> Json:
    return {"role": "assistant", "content": "", "tool_calls": [CALL], **more}


def _result(response: Any) -> Json:
    """A tool's answer in the engine's spelling."""
    part = {"type": "tool_response", "name": "get_weather", "response": response}
    return {"role": "tool", "content": [part]}


def _spoken_result(text: str) -> Json:
    """A tool's answer in OpenAI's spelling."""
    return {"role": "tool", "name": "get_weather", "tool_call_id": "call_1", "content": text}


def _embedded(response: Any, **more: Any) -> Json:
    """A call and its result in one message, which is Gemma's own spelling."""
    return _calling(tool_responses=[{"name": "get_weather", "response": response}], **more)


def _tool_result(
    name: str, call: Json, response: Any, *, shows: str, thinking: bool | None = None
) -> Sample:
    """A call and its result, as the engine spells them and in both spellings of transformers' templates."""
    spoken = response if isinstance(response, str) else json.dumps(response)
    return Sample(
        name,
        (ASK_WEATHER, call, _result(response)),
        (
            (ASK_WEATHER, _embedded(response)),
            (ASK_WEATHER, _calling(), _spoken_result(spoken)),
        ),
        tools=(WEATHER,),
        thinking=thinking,
        shows=shows,
    )


SAMPLES = (
    _same("a question", QUESTION),
    _same("a system prompt", SYSTEM, QUESTION),
    _same("history", QUESTION, ANSWER, NEXT),
    _same("a system prompt and history", SYSTEM, QUESTION, ANSWER, NEXT, ANSWER, QUESTION),
    Sample(
        "content in parts",
        ({"role": "user", "content": [_text("One."), _text(" Two.")]},),
        (
            ({"role": "user", "content": [_text("One."), _text(" Two.")]},),
            (_said("user", "One. Two."),),
        ),
    ),
    Sample(
        "a system prompt in parts",
        ({"role": "system", "content": [_text("Be brief.")]}, QUESTION),
        ((_said("system", "Be brief."), QUESTION),),
    ),
    _same("thinking switched on", QUESTION, thinking=True),
    _same("thinking switched off", QUESTION, thinking=False),
    _same("thinking and a system prompt", SYSTEM, QUESTION, thinking=True),
    Sample(
        "the turn after a thought",
        (QUESTION, {**ANSWER, "reasoning_content": "Easy."}, NEXT),
        ((QUESTION, ANSWER, NEXT),),
        thinking=True,
    ),
    _same(
        "a thought left in the text",
        QUESTION,
        _said("assistant", "<|channel>thought\nEasy.\n<channel|>It is 4."),
        NEXT,
    ),
    Sample("tools", (QUESTION,), ((QUESTION,),), tools=(WEATHER, CLOCK)),
    Sample(
        "tools, thinking and a system prompt",
        (SYSTEM, QUESTION),
        ((SYSTEM, QUESTION),),
        tools=(CLOCK,),
        thinking=True,
    ),
    _tool_result("tool result", _calling(), REPORT, shows="clear"),
    _tool_result("tool result in words", _calling(), "clear sky", shows="clear sky"),
    _tool_result(
        "tool result while thinking",
        _calling(reasoning_content="Look it up."),
        REPORT,
        shows="clear",
        thinking=True,
    ),
    Sample(
        "tool result, an answer and the next turn",
        (ASK_WEATHER, _calling(), _result(REPORT), _said("assistant", SUMMARY), NEXT),
        (
            (ASK_WEATHER, _embedded(REPORT, content=SUMMARY), NEXT),
            (
                ASK_WEATHER,
                _calling(),
                _spoken_result(json.dumps(REPORT)),
                _said("assistant", SUMMARY),
                NEXT,
            ),
        ),
        tools=(WEATHER,),
        shows="clear",
    ),
    _same(
        "a picture",
        {"role": "user", "content": [_text("What is this?"), {"type": "image", "path": "a.png"}]},
        shows="<|image|>",
    ),
    _same(
        "a sound",
        {"role": "user", "content": [{"type": "audio", "path": "a.wav"}, _text("Transcribe.")]},
        shows="<|audio|>",
    ),
)
