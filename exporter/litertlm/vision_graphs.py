"""The flatbuffers for pictures, section by section: kept or lowered now, and the constant end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract import EMBEDDINGS, Section
from exporter.litertlm.end_of_vision import end_graph
from exporter.lowering.graph_cache import default_folder
from exporter.lowering.vision import vision_units
from exporter.lowering.vision_graphs import (
    VisionGraph,
    find_vision,
    lower_and_keep_vision,
    sections,
)
from exporter.progress import Reporter
from exporter.vision_contract import VisionContract


@dataclass(frozen=True)
class FoundVision:
    """Graphs whose weights are still inputs."""

    sections: Mapping[Section, bytes]
    made_of: tuple[VisionGraph, ...]

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        return {graph.unit.signature: graph.describe() for graph in self.made_of}


def find_vision_graphs(
    config: VisionConfig, wanted: VisionContract, reporter: Reporter, *, fresh: bool
) -> FoundVision:
    """Every graph for pictures; those that are not known are lowered now and kept.

    Raises:
        LoweringError: The converter refused a graph, or is not installed.
    """
    units, folder = vision_units(config, wanted), default_folder()
    known = [None if fresh else find_vision(unit, folder) for unit in units]
    missing = [unit for unit, graph in zip(units, known, strict=True) if graph is None]
    made: list[VisionGraph] = []
    if missing:
        with reporter.stage("Lowering the vision tower", None):
            made = lower_and_keep_vision(missing, folder)
    lowered = iter(made)
    found = tuple(graph if graph is not None else next(lowered) for graph in known)
    end = end_graph(wanted.end_signature().outputs[EMBEDDINGS])
    return FoundVision({**sections(found), Section.END_OF_VISION: end}, found)
