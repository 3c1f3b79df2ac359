"""The flatbuffers of a tower, section by section: known or lowered now, and the constant end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exporter.contract.names import EMBEDDINGS, Section
from exporter.litertlm.end_graph import end_graph
from exporter.lowering import graph_cache
from exporter.lowering.graph_cache import GraphKind, KnownGraphs, describe
from exporter.lowering.graph_check import is_litert_graph
from exporter.lowering.lower import lower
from exporter.lowering.merge import Lowered
from exporter.lowering.tower import TowerRequest
from exporter.progress import Reporter
from exporter.version import graph_tool_versions


def graph_kind(request: TowerRequest) -> GraphKind:
    """How the graphs of such a tower are made."""
    return GraphKind(
        f"Lowering the {request.kind} tower",
        ("exporter.lowering.lower", "exporter.lowering.worker", request.maker),
        graph_tool_versions,
        lower,
        is_litert_graph,
    )


@dataclass(frozen=True)
class LoweredTower:
    """The graphs of a tower, their weights still inputs."""

    request: TowerRequest
    known: KnownGraphs

    @cached_property
    def sections(self) -> dict[Section, bytes]:
        """One graph per section."""
        section, signature = self.request.end
        end = end_graph(signature, self.request.contract.end_signature().outputs[EMBEDDINGS])
        return {**Lowered.of(self.known.by_unit).sections, section: end}

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        graphs = {section.value: graph for section, graph in self.sections.items()}
        return describe(self.known.key, self.known.tools, graphs)


def find_tower_graphs(request: TowerRequest, reporter: Reporter, *, fresh: bool) -> LoweredTower:
    """Every graph of a tower; those that are not known are lowered now and kept.

    Raises:
        LoweringError: The converter refused a graph, or is not installed.
    """
    kind = graph_kind(request)
    known = graph_cache.find_graphs(request, request.units(), kind, reporter, fresh=fresh)
    return LoweredTower(request, known)


def known_tower_graphs(request: TowerRequest) -> LoweredTower | None:
    """Every graph of a tower, if all are known."""
    known = graph_cache.find_known(request, request.units(), graph_kind(request))
    return None if known is None else LoweredTower(request, known)
