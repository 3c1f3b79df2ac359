"""Graphs that are known already: shipped with the package, or kept from earlier exports.

A weightless graph depends on the architecture, on a part of the contract and on the code that makes it; so
those make its key. The graph of a signature is some 100 kB and takes ten seconds or more to make. So every
export keeps what it had to make, and the graphs of the stock architectures are part of the package.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from exporter.errors import LoweringError, OutputError
from exporter.lowering.graph_archive import GraphArchive, read_archive, write_archive
from exporter.lowering.graph_check import is_litert_graph
from exporter.lowering.lower import lower
from exporter.lowering.sources import code_hash
from exporter.lowering.units import LoweringRequest, Unit
from exporter.progress import Reporter
from exporter.version import graph_tool_versions

SHIPPED = Path(__file__).parent / "graphs"


ANEW = "--fresh-graphs makes them anew"
"""What helps where kept graphs turn out to be others."""


class Request(Protocol):
    """What some graphs are graphs of."""

    def dependencies(self, unit: Unit) -> dict[str, Any]:
        """All that the graph of one signature depends on but code and tools, as JSON can hold it."""


@dataclass(frozen=True)
class GraphKind:
    """One way to make graphs."""

    title: str
    """What a user reads while they are made."""
    modules: tuple[str, ...]
    """Modules that make them; their code and all that they import is part of every key."""
    tools: Callable[[], Mapping[str, str]]
    """Versions of the packages that make them, as installed."""
    make: Callable[[Any, Sequence[Unit]], dict[Unit, bytes]]
    """Makes the graphs of such a request."""
    is_graph: Callable[[Unit, bytes], bool]
    """Whether bytes that were kept for a signature are a graph of it."""


LITERT = GraphKind(
    "Lowering the graphs",
    ("exporter.lowering.lower", "exporter.lowering.worker", LoweringRequest.maker),
    graph_tool_versions,
    lower,
    is_litert_graph,
)


@dataclass(frozen=True)
class KnownGraphs:
    """The graphs of one export, all made by the same tools."""

    key: str
    """Hash of all that they depend on."""
    tools: Mapping[str, str]
    """Versions of the packages that made them."""
    by_unit: Mapping[Unit, bytes]


def unit_key(request: Request, unit: Unit, kind: GraphKind = LITERT) -> str:
    """Hash of everything the graph of one signature depends on except the versions of the tools."""
    asked = json.dumps(request.dependencies(unit), sort_keys=True)
    return _hash(asked + code_hash(kind.modules))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def find_graphs(
    request: Request,
    units: Sequence[Unit],
    kind: GraphKind,
    reporter: Reporter,
    *,
    fresh: bool = False,
) -> KnownGraphs:
    """Graphs that are shipped or kept, and the others made now and kept.

    Args:
        request: What they are graphs of.
        units: The signatures.
        kind: Who makes them.
        reporter: Told which graphs are used, or that some are made.
        fresh: Make all of them, whatever is known; else what is kept and is no graph is made anew.

    Raises:
        LoweringError: They cannot be made.
    """
    if not fresh and (shipped := find_shipped(request, units, kind)) is not None:
        reporter.note(f"using known graphs {shipped.key[:8]}")
        return shipped
    keys = {unit: unit_key(request, unit, kind) for unit in units}
    whole, tools = _hash("".join(keys.values())), dict(kind.tools())
    paths = {unit: kept_path(default_folder(), key, tools) for unit, key in keys.items()}
    known = {} if fresh else _kept(keys, paths, tools, kind)
    if missing := [unit for unit in units if unit not in known]:
        with reporter.stage(kind.title, None):
            made = _made(kind, request, missing)
        for unit, graph in made.items():
            keep(paths[unit], GraphArchive(tools, {keys[unit]: graph}))
        known |= made
    else:
        reporter.note(f"using known graphs {whole[:8]}")
    return KnownGraphs(whole, tools, {unit: known[unit] for unit in units})


def _made(kind: GraphKind, request: Request, units: Sequence[Unit]) -> dict[Unit, bytes]:
    """Make graphs, by way of temporary files."""
    try:
        return kind.make(request, units)
    except OSError as error:
        raise LoweringError(
            f"graphs cannot be made: {error.strerror or error}; make room for temporary files in "
            f"{tempfile.gettempdir()}, or set TMPDIR to another folder"
        ) from error


def find_shipped(
    request: Request, units: Sequence[Unit], kind: GraphKind = LITERT
) -> KnownGraphs | None:
    """Graphs that come with the package, if all do; the tools that made them need not be installed."""
    keys = {unit: unit_key(request, unit, kind) for unit in units}
    for archive in _shipped(keys.values()):
        if len(archive.entries) == len(keys):
            whole = _hash("".join(keys.values()))
            return KnownGraphs(whole, archive.tools, _by_unit(keys, archive))
    return None


def find_known(
    request: Request, units: Sequence[Unit], kind: GraphKind = LITERT
) -> KnownGraphs | None:
    """Graphs that are shipped or kept, if all are; none is made."""
    if (shipped := find_shipped(request, units, kind)) is not None:
        return shipped
    keys = {unit: unit_key(request, unit, kind) for unit in units}
    tools = dict(kind.tools())
    paths = {unit: kept_path(default_folder(), key, tools) for unit, key in keys.items()}
    known = _kept(keys, paths, tools, kind)
    whole = _hash("".join(keys.values()))
    return KnownGraphs(whole, tools, known) if len(known) == len(units) else None


def _shipped(keys: Collection[str]) -> Iterator[GraphArchive]:
    """What of these graphs comes with the package, by architecture."""
    for path in sorted(SHIPPED.glob("*.zip")):
        if (archive := read_archive(path, keys)) is not None:
            yield archive


def _kept(
    keys: Mapping[Unit, str],
    paths: Mapping[Unit, Path],
    tools: Mapping[str, str],
    kind: GraphKind,
) -> dict[Unit, bytes]:
    """Single graphs that the installed tools made, kept here or shipped, without what is none."""
    archives = [archive for archive in _shipped(keys.values()) if archive.tools == tools]
    archives += filter(None, map(read_archive, paths.values()))
    found = {unit: graph for archive in archives for unit, graph in _by_unit(keys, archive).items()}
    return {unit: graph for unit, graph in found.items() if kind.is_graph(unit, graph)}


def _by_unit(keys: Mapping[Unit, str], archive: GraphArchive) -> dict[Unit, bytes]:
    return {unit: archive.entries[key] for unit, key in keys.items() if key in archive.entries}


def default_folder() -> Path:
    """Where graphs are kept between runs: ``MTP_EXPORT_CACHE``, else the user's cache folder.

    Raises:
        OutputError: The user has no home folder, as may be in a container.
    """
    if configured := os.environ.get("MTP_EXPORT_CACHE"):
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        caches = Path(base) if base else Path.home() / ".cache"
    except RuntimeError as error:
        raise OutputError(
            "this user has no home folder to keep graphs in; name a folder in MTP_EXPORT_CACHE"
        ) from error
    return caches / "mtp-export" / "graphs"


def kept_path(folder: Path, key: str, tools: Mapping[str, str]) -> Path:
    """Where a graph is kept. Named by the tools, too: another converter makes another graph."""
    made_with = hashlib.sha256(json.dumps(dict(tools), sort_keys=True).encode()).hexdigest()
    return folder / f"{key}-{made_with[:12]}.zip"


def keep(path: Path, archive: GraphArchive) -> None:
    """Keep a graph for the next export; a cache that cannot be written is no reason to fail."""
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_archive(path, archive)


def describe(key: str, tools: Mapping[str, str], graphs: Mapping[str, bytes]) -> dict[str, Any]:
    """What a manifest says of graphs."""
    hashes = {name: hashlib.sha256(graph).hexdigest() for name, graph in graphs.items()}
    return {"key": key, "sha256": hashes, "lowered_with": dict(tools)}
