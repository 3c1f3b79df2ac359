"""What a manifest must have, and of which type, so that whoever reads it can rely on that.

A manifest is JSON that anybody may have written. The contract and the blocks of pictures and sound have
readers of their own (``stored_contract.py`` and its like); what is listed here is all that others read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from exporter.bundle.layout import MANIFEST_BLOCKS
from exporter.errors import BundleError, listed

SHOWN = 60
"""Characters of a value that a message quotes."""

MOST = 8
"""Problems that a message lists."""

ANY = "*"
"""In the place of a key: every key there is."""

Shape = type | UnionType | Mapping[str, Any]
"""A type, or an object: the shape of each key. One that ends in ``?`` may be missing, or be null."""

TEXT, COUNT, NAME_OR_NULL = str, int, str | None
SOURCE: Shape = {
    "source": TEXT,
    "revision": NAME_OR_NULL,
    "sha256": {ANY: TEXT},
    "ignored_tensors": {ANY: COUNT},
    "adapter?": {"source": TEXT, "revision": NAME_OR_NULL},
}
MANIFEST: Shape = {
    "sources": {"target": SOURCE, "drafter?": SOURCE},
    "recipe": {"name": TEXT, "calibration?": {"sha256": TEXT}},
    "options": {"chat_template?": {"origin": TEXT}, "drafter_head?": TEXT},
    "graphs": {"key": TEXT, "lowered_with": {ANY: TEXT}},
    "weights": {ANY: {ANY: list}},
    "tools": {ANY: TEXT},
    "files?": {ANY: TEXT},
}


def check_manifest(manifest: Any, where: Path, *more: str) -> dict[str, Any]:
    """A manifest, once it is known to be one, with all that is read of it.

    Args:
        manifest: Parsed JSON.
        where: Shown in messages.
        more: Blocks that it must have besides those of every manifest.

    Raises:
        BundleError: Naming every block that is missing, or everything that is of another type.
    """
    wanted = {*MANIFEST_BLOCKS, *more}
    if not isinstance(manifest, dict) or any(manifest.get(block) is None for block in wanted):
        raise BundleError(
            f"{where}: expected a manifest with {', '.join(sorted(wanted))}; it was made by another "
            "version of mtp-export"
        )
    if problems := list(_problems(manifest, MANIFEST, "manifest")):
        raise BundleError(f"{where}: the manifest is damaged: {listed(problems[:MOST])}")
    return manifest


def _problems(value: object, shape: Shape, path: str) -> Iterator[str]:
    if not isinstance(shape, Mapping):
        if isinstance(value, bool) or not isinstance(value, shape):
            yield _wrong(path, shape, value)
    elif not isinstance(value, Mapping):
        yield _wrong(path, dict, value)
    else:
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if key == ANY:
                for each, found in value.items():
                    yield from _problems(found, inner, f"{path}.{each}")
            elif name in value and not (value[name] is None and name != key):
                yield from _problems(value[name], inner, f"{path}.{name}")
            elif name == key:
                yield f"{path} has no {name}"


WORDS = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}


def _wrong(path: str, expected: type | UnionType, value: object) -> str:
    named = WORDS.get(expected, "a text or null")  # type: ignore[arg-type]
    return f"{path}: expected {named}, found {ascii(value)[:SHOWN]}"
