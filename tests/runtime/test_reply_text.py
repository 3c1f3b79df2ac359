"""Answers taken apart into text, thought and tool calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.bundle.engine_template import EngineTemplate
from exporter.templates.gemma4 import Variant
from runtime_py.chat.conversation import PLAIN, Setting
from runtime_py.chat.reply_text import Markers, ReplyReading, Said, Span, parse_call

QUOTE = '<|"|>'
CALLS = Span("<|tool_call>", "<tool_call|>")
GEMMA = Markers(Span("<|channel>thought\n", "<channel|>"), CALLS, QUOTE)
TOOLS = Setting(({"type": "function", "function": {"name": "f"}},))


def read(raw: str, setting: Setting = PLAIN, prompt: str = "", cut: int = 1) -> tuple[str, Said]:
    """What is shown of an answer that comes in pieces, and what it says."""
    reading = GEMMA.reading(setting, prompt)
    shown = "".join(reading.push(raw[at : at + cut]) for at in range(0, len(raw), cut))
    return shown + reading.rest(), reading.said()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("It is 4.", Said("It is 4.")),
        ("<|channel>thought\nEasy.\n<channel|>It is 4.", Said("It is 4.", "Easy.\n")),
        ("A <|channel>thought\nb<channel|> c", Said("A  c", "b")),
        ("<|channel>thought\nnever ends", Said("", "never ends")),
        ("<|channel>other\nx<channel|>", Said("<|channel>other\nx<channel|>")),
        ("a < b <| c", Said("a < b <| c")),
        ("<|tool_call>call:f{}<tool_call|>", Said("<|tool_call>call:f{}<tool_call|>")),
    ],
)
def test_without_tools(raw: str, said: Said) -> None:
    for cut in (1, 3, 100):
        assert read(raw, cut=cut) == (said.text, said)


def test_with_tools() -> None:
    raw = "Let me see.<|tool_call>call:f{a:1}<tool_call|><|tool_call>call:g{}<tool_call|>"
    for cut in (1, 7, 100):
        shown, said = read(raw, TOOLS, cut=cut)
        assert shown == said.text == "Let me see."
        functions = [call["function"] for call in said.tool_calls]
        assert functions == [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]


def test_a_call_that_does_not_end_is_text() -> None:
    for cut in (1, 100):
        assert read("a<|tool_call>call:f{", TOOLS, cut=cut)[1] == Said("a<|tool_call>call:f{")


@pytest.mark.parametrize(
    "call", ["call:f{a: 1}", "call:f{a:1b:2}", "f(1)", "call:f{a:" + "[" * 3000]
)
def test_a_call_that_cannot_be_read_is_text(call: str) -> None:
    raw = f"a {CALLS.start}{call}{CALLS.end} b"
    for cut in (5, 10_000):
        assert read(raw, TOOLS, cut=cut) == (raw, Said(raw))


def test_an_answer_may_begin_within_a_thought() -> None:
    said = read("Clear sky.\n<channel|>Nice.", prompt="<tool_response|><|channel>thought\n")[1]
    assert said == Said("Nice.", "Clear sky.\n")


@given(st.lists(st.sampled_from(["<", "|", "channel>thought\n", "<channel|>", "x", "<|channel>"])))
def test_what_is_shown_is_never_taken_back(parts: list[str]) -> None:
    reading = ReplyReading(GEMMA, tools=True)
    shown = "".join(map(reading.push, parts)) + reading.rest()
    assert shown == reading.said().text


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(-1e6, 1e6).map(lambda x: round(x, 3) + 0.0)
    | st.text("ab {}[],:'\"é\n", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=4), VALUES, max_size=4))
def test_calls_are_read_as_the_template_writes_them(arguments: dict[str, Any]) -> None:
    call = {"type": "function", "function": {"name": "get_x", "arguments": arguments}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    text = TEMPLATE.render([{"role": "user", "content": "?"}, message], answering=False)
    written = text.split(CALLS.start)[1].split(CALLS.end)[0]
    assert parse_call(written, QUOTE) == call


TEMPLATE = EngineTemplate(Variant().source())


@pytest.mark.parametrize(
    "text",
    ["", "f{}", "call:f", "call:f{a}", "call:f{a:}", "call:f{a:1", "call:f{a:1}}", "call:f{a:x}"],
)
def test_what_is_no_call_is_none(text: str) -> None:
    assert parse_call(text, QUOTE) is None
