"""The engine template for Gemma 4's chat format, written for this project, in the variants that are in use.

Google's and Unsloth's templates differ in a few details, and each detail is a variable at the head of
``gemma4.jinja``. For the engine's sake this template does four things that theirs do not: it takes content
as a string or in parts; it takes a tool's answer as ``tool_response`` parts and writes the token that
opens it; it never renders thoughts again; and its text of a history does not change when the conversation
goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

BODY = Path(__file__).with_name("gemma4.jinja")

NO_THOUGHT = "<|channel>thought\n<channel|>"
THOUGHT = "<|channel>thought\n"


@dataclass(frozen=True)
class Variant:
    """The details in which published templates differ; each is the text that is printed."""

    think_line: str = "<|think|>\n"
    """The switch for thinking, in the system turn."""
    around_pictures: str = ""
    no_thought_before: str = ""
    """Before each of the model's earlier turns, while thinking is off."""
    no_thought_now: str = ""
    """Where the model's turn begins, while thinking is off."""
    thought_after_result: str = THOUGHT
    """Where the model goes on after a tool's answer, while thinking is on."""
    first_declarations: bool = False
    """Whether tools are declared as in the first templates, which misplace commas and leave out parameters
    that are called like words of JSON schema (``type``, ``description``)."""

    def source(self) -> str:
        """The template."""
        head = "".join(
            f"{{%- set {name} = {json.dumps(value)} -%}}\n" for name, value in asdict(self).items()
        )
        return head + BODY.read_text(encoding="utf-8")


def variants() -> Iterator[Variant]:
    """All variants, that of Google's most recent template for E2B and E4B first."""
    for choices in product(
        ("<|think|>\n", "<|think|>"),
        ("", "\n\n"),
        ("", NO_THOUGHT),
        ("", NO_THOUGHT),
        (THOUGHT, ""),
        (False, True),
    ):
        yield Variant(*choices)
