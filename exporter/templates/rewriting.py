"""A template written for transformers, rewritten in the language the engine knows.

Each step replaces one thing that Python's values can do and the engine's cannot. A newline at the end is
removed, because jinja2 drops it and the engine prints it; other ends of lines become newlines, as in jinja2.
Whether the result renders alike is found by :mod:`exporter.templates.fitting`.
"""

from __future__ import annotations

import re
from pathlib import Path

from exporter.bundle.engine_template import change_blocks, change_code, without_strings
from exporter.templates.huggingface import without_generation
from exporter.templates.samples import STOPS_FOR_TOOL

PREAMBLE = Path(__file__).with_name("messages.jinja")
"""Turns the engine's messages into those transformers gives; thoughts are left out of histories."""

CAPTURE = "{%- set rendered +%}"
PRINT = (
    "{%+ endset -%}"
    f"{{%- set opened = not add_generation_prompt and rendered is endingwith '{STOPS_FOR_TOOL}' -%}}"
    f"{{{{- rendered[:-{len(STOPS_FOR_TOOL)}] if opened else rendered -}}}}"
)
"""Around a template that opens a tool's answer right after the call: the opening waits for the answer."""

LINE_END = re.compile(r"\r\n?")
FILTERS = re.compile(r"\.(upper|lower|title|capitalize)\(\)")
NONE_TEST = re.compile(r"\bis(\s+not)?\s+none\b", re.IGNORECASE)
LOOKUP = ".get("
RECEIVER = re.compile(r"(?:[\w.]|\[[^\[\]]*\])+$")
DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def rewritten(source: str) -> str:
    """The template in the engine's language, behind a preamble that spells messages as it expects."""
    source = LINE_END.sub("\n", source)
    source = change_blocks(without_generation(source).removesuffix("\n"), _subscripts)
    source = change_code(source, _filters)
    preamble = "".join(
        PREAMBLE.read_text(encoding="utf-8").splitlines()
    )  # lines keep their numbers
    if STOPS_FOR_TOOL in source:
        return preamble + CAPTURE + source + PRINT
    return preamble + source


def _filters(code: str) -> str:
    code = FILTERS.sub(r" | \1", code)
    return NONE_TEST.sub(lambda test: "!= none" if test[1] else "== none", code)


def _subscripts(block: str) -> str:
    """``x.get('a')`` as ``x['a']``, ``x.get('a', b)`` as ``(x['a'] | default(b))``; the last call first."""
    while (start := without_strings(block).rfind(LOOKUP)) >= 0:
        arguments, end = _arguments(block, start + len(LOOKUP))
        if not 1 <= len(arguments) <= 2 or "" in arguments:
            return block  # not a call of dict.get; left for the engine to refuse
        begin = _receiver(block, start)
        found = f"{block[begin:start]}[{arguments[0]}]"
        if len(arguments) == 2:
            found = f"({found} | default({arguments[1]}))"
        block = block[:begin] + found + block[end:]
    return block


def _receiver(block: str, end: int) -> int:
    """Where the expression begins whose method is called at ``end``."""
    found = RECEIVER.search(without_strings(block), 0, end)
    return found.start() if found else end


def _arguments(block: str, start: int) -> tuple[list[str], int]:
    """The arguments of a call whose parenthesis opens before ``start``, and where the call ends."""
    depth, arguments, begin = 0, list[str](), start
    for at, character in enumerate(without_strings(block)[start:], start):
        if depth == 0 and character in ",)":
            arguments.append(block[begin:at].strip())
            begin = at + 1
            if character == ")":
                return arguments, begin
        depth += DEPTH.get(character, 0)
    return [], start
