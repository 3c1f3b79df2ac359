"""Lowered graphs that are already known: shipped with the package, or kept from earlier exports.

A weightless graph depends on the architecture, the contract and this package's model code, so those
make its key. It is about a megabyte, and lowering it takes a minute or more; so every export keeps
its graphs, and those of the stock architectures are part of the package.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from exporter.contract import DRAFT_ROUND, Section
from exporter.lowering.lower import Lowered, LoweringRequest, lower
from exporter.version import graph_tool_versions

PACKAGE = Path(__file__).parent.parent
SHIPPED = PACKAGE / "lowering" / "graphs"

GRAPH_SOURCES = (
    "contract.py",
    "lowering/signatures.py",
    "lowering/lower.py",
    "lowering/worker.py",
    "lowering/merge.py",
    "model",
)
"""Files of this package that decide what a graph looks like; part of the key."""

RECORD = "record.json"

DAMAGE = (
    OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, KeyError,
)  # fmt: skip
"""What reading an archive can raise if there is none or it is damaged."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamped into the archives, so that equal graphs give equal files."""


@dataclass(frozen=True)
class Graphs:
    """The graphs of one bundle and where they come from."""

    lowered: Lowered
    key: str
    tools: dict[str, str]
    """Versions of the packages that lowered them."""

    def describe(self) -> dict[str, Any]:
        """For the manifest; the same whether the graphs were lowered now or taken from a cache."""
        entries = _entries(self.lowered).items()
        hashes = {name: hashlib.sha256(graph).hexdigest() for name, graph in entries}
        return {"key": self.key, "sha256": hashes, "lowered_with": self.tools}


def graph_key(request: LoweringRequest, sources: Sequence[str] = GRAPH_SOURCES) -> str:
    """Hash of everything a graph depends on except the versions of the tools that lower it."""
    digest = hashlib.sha256(json.dumps(_plain(asdict(request)), sort_keys=True).encode())
    for source in sources:
        path = PACKAGE / source
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


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


def find(request: LoweringRequest, folder: Path) -> Graphs | None:
    """Graphs for this request, shipped or kept; None if they have to be lowered."""
    key = graph_key(request)
    return read(SHIPPED / f"{key}.zip", key) or read(_kept(folder, key), key)


def lower_and_keep(request: LoweringRequest, folder: Path) -> Graphs:
    """Lower the graphs and keep them; a cache that cannot be written is no reason to fail.

    Raises:
        LoweringError: The converter refused a graph.
    """
    graphs = Graphs(lower(request), graph_key(request), graph_tool_versions())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(graphs, _kept(folder, graphs.key))
    except OSError:
        return graphs
    return graphs


def write(graphs: Graphs, path: Path) -> None:
    """Store graphs as one archive, in one step."""
    write_archive(path, graphs.tools, _entries(graphs.lowered))


def _entries(lowered: Lowered) -> dict[str, bytes]:
    """Graphs by the names they have in an archive and in a manifest."""
    entries = {section.value: graph for section, graph in lowered.sections.items()}
    if lowered.draft_round is not None:
        entries[DRAFT_ROUND] = lowered.draft_round
    return entries


def write_archive(path: Path, tools: Mapping[str, str], entries: Mapping[str, bytes]) -> None:
    """Store entries and what made them as one archive, in one step."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(zipfile.ZipInfo(RECORD, EPOCH), json.dumps(tools, sort_keys=True))
        for name, entry in entries.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), entry, zipfile.ZIP_DEFLATED, 9)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
        stream.write(content.getvalue())
    Path(stream.name).replace(path)


def _kept(folder: Path, key: str) -> Path:
    """Kept graphs are also keyed by the tools: another converter makes another graph."""
    tools = hashlib.sha256(json.dumps(graph_tool_versions(), sort_keys=True).encode()).hexdigest()
    return folder / f"{key}-{tools[:12]}.zip"


def read(path: Path, key: str) -> Graphs | None:
    """Graphs from an archive; None if there is none, or a damaged one (which is then replaced)."""
    try:
        if (found := read_archive(path)) is None:
            return None
        tools, entries = found
        draft_round = entries.pop(DRAFT_ROUND, None)
        sections = {Section(name): graph for name, graph in entries.items()}
        return Graphs(Lowered(sections, draft_round), key, tools)
    except ValueError:
        return None


def read_archive(path: Path) -> tuple[dict[str, str], dict[str, bytes]] | None:
    """What made an archive, and its entries; None if there is none, or a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name != RECORD]
            return json.loads(archive.read(RECORD)), {name: archive.read(name) for name in names}
    except DAMAGE:
        return None
