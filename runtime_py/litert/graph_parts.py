"""Which regions of a bundle make up a graph that LiteRT can compile.

For a model section that is the section. The graph of a draft round has its weights in two others, which
must stand behind it; see ``exporter.bundle.layout``.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.bundle.layout import DRAFT_ROUND_SECTIONS, side_by_side
from exporter.bundle.reader import Bundle, BundleSection
from exporter.contract import DRAFT_ROUND, Section
from runtime_py.litert.mapped_section import FileRegion


@dataclass(frozen=True)
class GraphParts:
    """The regions, side by side; ``name`` is for messages and for the file of a weight cache."""

    name: str
    graph_bytes: int
    """Of the first region: the graph itself, without weights behind it."""
    regions: tuple[FileRegion, ...]


def section_parts(bundle: Bundle, section: Section) -> GraphParts:
    """A model section, which the bundle must have."""
    entry = bundle.model(section)
    assert entry is not None
    return GraphParts(section.value, entry.graph_bytes, (_region(entry, 0),))


def draft_round_parts(bundle: Bundle) -> GraphParts:
    """The graph of a draft round, which the bundle must have, and the sections that it was made for."""
    entry = bundle.draft_round
    assert entry is not None
    read = [found for section in DRAFT_ROUND_SECTIONS if (found := bundle.model(section))]
    starts = side_by_side(entry.nbytes, [found.nbytes for found in read])
    behind = (_region(found, start) for found, start in zip(read, starts, strict=True))
    return GraphParts(DRAFT_ROUND, entry.nbytes, (_region(entry, 0), *behind))


def _region(entry: BundleSection, at: int) -> FileRegion:
    return FileRegion(entry.begin, entry.nbytes, at)
