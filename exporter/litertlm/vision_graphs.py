"""The flatbuffers for pictures, section by section: known or lowered now, and the constant end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exporter.contract.names import EMBEDDINGS, Section
from exporter.litertlm.end_of_vision import end_graph
from exporter.lowering import graph_cache
from exporter.lowering.graph_cache import GraphKind, KnownGraphs, describe
from exporter.lowering.lower import lower
from exporter.lowering.merge import Lowered
from exporter.lowering.vision import VisionRequest
from exporter.progress import Reporter
from exporter.version import graph_tool_versions

VISION = GraphKind(
    "Lowering the vision tower",
    ("exporter.lowering.lower", "exporter.lowering.worker", VisionRequest.maker),
    graph_tool_versions,
    lower,
)


@dataclass(frozen=True)
class VisionGraphs:
    """Graphs whose weights are still inputs."""

    known: KnownGraphs
    end: bytes

    @cached_property
    def sections(self) -> dict[Section, bytes]:
        """One graph per section."""
        return {**Lowered.of(self.known.by_unit).sections, Section.END_OF_VISION: self.end}

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        graphs = {section.value: graph for section, graph in self.sections.items()}
        return describe(self.known.key, self.known.tools, graphs)


def find_vision_graphs(request: VisionRequest, reporter: Reporter, *, fresh: bool) -> VisionGraphs:
    """Every graph for pictures; those that are not known are lowered now and kept.

    Raises:
        LoweringError: The converter refused a graph, or is not installed.
    """
    known = graph_cache.find_graphs(request, request.units(), VISION, reporter, fresh=fresh)
    return VisionGraphs(known, end_graph(request.contract.end_signature().outputs[EMBEDDINGS]))
