"""Lowered graphs that are already known: shipped with the package, or kept from earlier exports.

A weightless graph depends on the architecture, the contract and the code that makes it, so its key is a
hash of these. It is about a megabyte, and lowering it takes a minute or more; so every export keeps its
graphs, and those of the stock architectures are part of the package.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from exporter.contract import DRAFT_ROUND, Section
from exporter.lowering.graph_archive import GraphArchive, read_archive, write_archive
from exporter.lowering.lower import Lowered, LoweringRequest, lower
from exporter.lowering.sources import code_hash
from exporter.version import graph_tool_versions

SHIPPED = Path(__file__).parent / "graphs"

MAKERS = ("exporter.lowering.lower", "exporter.lowering.worker")
"""Modules that make graphs for LiteRT; their code and all that they import is part of the key."""


@dataclass(frozen=True)
class Graphs:
    """The graphs of one bundle and where they come from."""

    lowered: Lowered
    key: str
    tools: Mapping[str, str]
    """Versions of the packages that lowered them."""

    def describe(self) -> dict[str, Any]:
        """What the manifest says of the graphs, whether they were lowered now or taken from a cache."""
        return describe(self.key, self.archive())

    def archive(self) -> GraphArchive:
        """The graphs and their tools, as an archive holds them."""
        entries = {section.value: graph for section, graph in self.lowered.sections.items()}
        if self.lowered.draft_round is not None:
            entries[DRAFT_ROUND] = self.lowered.draft_round
        return GraphArchive(self.tools, entries)


def describe(key: str, archive: GraphArchive) -> dict[str, Any]:
    """What a manifest says of graphs."""
    hashes = {name: hashlib.sha256(graph).hexdigest() for name, graph in archive.entries.items()}
    return {"key": key, "sha256": hashes, "lowered_with": dict(archive.tools)}


def graph_key(request: LoweringRequest, makers: tuple[str, ...] = MAKERS) -> str:
    """Hash of everything a graph depends on except the versions of the tools that lower it."""
    asked = json.dumps(_plain(asdict(request)), sort_keys=True)
    return hashlib.sha256((asked + code_hash(makers)).encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    """Enums and their dictionaries as JSON can hold them."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.value if isinstance(value, Enum) else value


def default_folder() -> Path:
    """Where graphs are kept between runs: ``MTP_EXPORT_CACHE``, else the user's cache folder."""
    if configured := os.environ.get("MTP_EXPORT_CACHE"):
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mtp-export" / "graphs"


def kept_path(folder: Path, key: str, tools: Mapping[str, str]) -> Path:
    """The file for graphs of this key, made with these tools: another converter makes another graph."""
    made_with = hashlib.sha256(json.dumps(dict(tools), sort_keys=True).encode()).hexdigest()
    return folder / f"{key}-{made_with[:12]}.zip"


def keep(path: Path, archive: GraphArchive) -> None:
    """Keep graphs for the next export; a cache that cannot be written is no reason to fail."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_archive(path, archive)


def find(request: LoweringRequest, folder: Path) -> Graphs | None:
    """Graphs for this request, shipped or kept; None if they have to be lowered."""
    key = graph_key(request)
    return read(SHIPPED / f"{key}.zip", key) or read(
        kept_path(folder, key, graph_tool_versions()), key
    )


def lower_and_keep(request: LoweringRequest, folder: Path) -> Graphs:
    """Lower the graphs and keep them.

    Raises:
        LoweringError: The converter refused a graph.
    """
    graphs = Graphs(lower(request), graph_key(request), graph_tool_versions())
    keep(kept_path(folder, graphs.key, graphs.tools), graphs.archive())
    return graphs


def read(path: Path, key: str) -> Graphs | None:
    """Graphs from an archive; None if there is none, or a damaged one (which is then replaced)."""
    if (archive := read_archive(path)) is None:
        return None
    entries = dict(archive.entries)
    draft_round = entries.pop(DRAFT_ROUND, None)
    try:
        sections = {Section(name): graph for name, graph in entries.items()}
    except ValueError:
        return None
    return Graphs(Lowered(sections, draft_round), key, archive.tools)
