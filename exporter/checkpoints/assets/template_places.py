"""The places where a checkpoint may keep its chat template, in the order of transformers' preference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.checkpoint import (
    TEMPLATE,
    TEMPLATE_SETTINGS,
    TEMPLATES,
    TOKENIZER_SETTINGS,
    Checkpoint,
)
from exporter.errors import CheckpointError

JSON_PLACES = (TOKENIZER_SETTINGS, *TEMPLATE_SETTINGS)
"""Files with a ``chat_template``: a text, or a list or map of named ones."""

DEFAULT = "default"


@dataclass(frozen=True)
class FoundTemplate:
    """A chat template and where it was."""

    source: str
    place: str
    left: tuple[str, ...]
    """Names of other templates that were beside it."""

    def notes(self) -> tuple[str, ...]:
        """What to tell of it: nothing if it is alone in the usual file."""
        if self.place == TEMPLATE and not self.left:
            return ()
        others = f"; not used: {', '.join(self.left)}" if self.left else ""
        return (f"chat template: the one in {self.place}{others}",)


def find_template(target: Checkpoint) -> FoundTemplate:
    """Find the template that transformers uses for a conversation without further arguments.

    Raises:
        CheckpointError: There is none, or several and no way to tell which is meant.
    """
    beside = _additional(target)
    for place, named in _places(target):
        everything = {**beside, **named}
        if DEFAULT in everything:
            left = tuple(sorted(set(everything) - {DEFAULT}))
            of_list = f" ({DEFAULT!r} of {len(named)})" if len(named) > 1 else ""
            return FoundTemplate(everything[DEFAULT], f"{place}{of_list}", left)
        if len(everything) == 1:
            ((name, source),) = everything.items()
            return FoundTemplate(source, f"{place} ({name!r}, the only one)", ())
        if everything:
            raise CheckpointError(
                f"{target.folder}: {place}: expected a chat template named {DEFAULT!r}, found "
                f"{', '.join(sorted(everything))}; save the one that is meant as {TEMPLATE}"
            )
    raise CheckpointError(
        f"{target.folder}: expected a chat template ({TEMPLATE}, or chat_template in "
        f"{', '.join(JSON_PLACES)}), found none; copy the {TEMPLATE} of the instruction-tuned model"
    )


def _places(target: Checkpoint) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Templates by name, place by place; places without any are passed over."""
    text = target.text_file(TEMPLATE)
    if text is not None and text.strip():
        yield TEMPLATE, {DEFAULT: text}
    for place in JSON_PLACES:
        if named := _named((target.json_file(place) or {}).get("chat_template")):
            yield place, named
    if named := _additional(target):
        yield TEMPLATES, named


def _named(value: Any) -> dict[str, str]:
    """Templates by name: of a text, of a list of names and templates, or of a map."""
    if isinstance(value, list):
        entries = [entry for entry in value if isinstance(entry, dict)]
        value = {str(entry["name"]): entry.get("template") for entry in entries if "name" in entry}
    named = value if isinstance(value, dict) else {DEFAULT: value}
    return {str(n): text for n, text in named.items() if isinstance(text, str) and text.strip()}


def _additional(target: Checkpoint) -> dict[str, str]:
    """Templates that transformers keeps in a folder, a file for each name."""
    texts = {path.stem: target.text_file(path) for path in target.additional_templates()}
    return {name: text for name, text in texts.items() if text is not None and text.strip()}
