"""Markers of a chat template that are not tokens of the tokenizer.

A template of another model (Gemma 3's ``<end_of_turn>``, ChatML's ``<|im_start|>``) renders without an error,
and its markers are then cut into letters that the model was never trained on.
"""

from __future__ import annotations

import re
from collections.abc import Container

COMMENT = re.compile(r"\{#.*?(?:#\}|\Z)", re.DOTALL)

MARKER = re.compile(
    r"<\|[^<>|\s]{1,40}\|?>"  # <|turn>, <|im_start|>
    r"|<[^<>|\s]{1,40}\|>"  # <turn|>
    r"|<(?:start|end)_of_\w{1,40}>"
    r"|<(?:bos|eos|pad|s|/s)>"
    r"|\[/?INST\]"
)
"""Texts that models use as single tokens. Plain tags such as ``<tools>`` are not among them: templates have
these as text."""


MEDIA = frozenset({"<|image|>", "<|audio|>", "<|video|>", "<start_of_image>", "<start_of_audio>"})
"""Places of pictures and sounds, which a model of text alone need not know."""


def unknown_markers(template: str, tokens: Container[str]) -> list[str]:
    """Markers in the source of a template that are none of the tokenizer's added tokens, in order."""
    found = dict.fromkeys(MARKER.findall(COMMENT.sub("", template)))
    return [marker for marker in found if marker not in tokens and marker not in MEDIA]


def told(markers: list[str]) -> tuple[str, ...]:
    """A warning, if there is anything to warn of."""
    if not markers:
        return ()
    return (
        f"warning: the chat template has {', '.join(markers)}, which the tokenizer has no single token for: "
        "the template of another model, whose answers would be wrong",
    )
