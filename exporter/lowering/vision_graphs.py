"""Graphs of a vision tower that are already known: shipped with the package, or kept from earlier exports.

As ``exporter.lowering.graph_cache`` keeps those of text, but one signature at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.contract import Section
from exporter.lowering.graph_archive import GraphArchive, read_archive
from exporter.lowering.graph_cache import SHIPPED, graph_key, keep, kept_path
from exporter.lowering.merge import merge
from exporter.lowering.vision import LOWERED, VisionUnit, lower_vision
from exporter.version import graph_tool_versions

MAKERS = ("exporter.lowering.vision", "exporter.lowering.vision_worker")
"""Modules that make these graphs; their code and all that they import is part of a key."""


@dataclass(frozen=True)
class VisionGraph:
    """One lowered signature."""

    unit: VisionUnit
    archive: GraphArchive

    @property
    def content(self) -> bytes:
        return self.archive.entries[self.unit.section.value]

    def describe(self) -> dict[str, Any]:
        """For the manifest; the same whether it was lowered now or taken from a cache."""
        return {
            "key": unit_key(self.unit),
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "lowered_with": dict(self.archive.tools),
        }


def sections(graphs: Sequence[VisionGraph]) -> dict[Section, bytes]:
    """One flatbuffer per section, with its signatures in the order of ``graphs``."""
    return {
        section: merge([graph.content for graph in graphs if graph.unit.section is section])
        for section in LOWERED
    }


def unit_key(unit: VisionUnit) -> str:
    """Hash of everything a signature's graph depends on except the versions of the tools."""
    return graph_key(unit, MAKERS)


def find_vision(unit: VisionUnit, folder: Path) -> VisionGraph | None:
    """The graph, shipped or kept; None if it has to be lowered."""
    key = unit_key(unit)
    for path in (SHIPPED / f"{key}.zip", kept_path(folder, key, graph_tool_versions())):
        archive = read_archive(path)
        if archive is not None and unit.section.value in archive.entries:
            return VisionGraph(unit, archive)
    return None


def lower_and_keep_vision(units: Sequence[VisionUnit], folder: Path) -> list[VisionGraph]:
    """Lower signatures and keep their graphs.

    Raises:
        LoweringError: The converter refused a graph, or is not installed.
    """
    tools = graph_tool_versions()
    made = []
    for unit, content in zip(units, lower_vision(units), strict=True):
        archive = GraphArchive(tools, {unit.section.value: content})
        keep(kept_path(folder, unit_key(unit), tools), archive)
        made.append(VisionGraph(unit, archive))
    return made
