"""Weightless ONNX graphs of one export: found in the user's cache, or traced now and kept.

Kept beside the graphs for LiteRT, under a key of their own: they depend on other sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from exporter.bundle.onnx_folder import MODEL_SUFFIX
from exporter.contract.names import Section
from exporter.contract.text import Contract
from exporter.lowering import graph_cache
from exporter.lowering.graph_cache import GraphKind, KnownGraphs, describe
from exporter.lowering.units import LoweringRequest, Unit, units_by_section
from exporter.onnx.bind import bind, weight_specs
from exporter.onnx.graph_builder import OPSET
from exporter.onnx.lower import lower
from exporter.onnx.weight_files import described, stored_size, write_weights
from exporter.onnx.writer import FOLDER
from exporter.progress import Advance, Reporter
from exporter.version import onnx_tool_versions
from exporter.weights.matching import WeightInput, Weights
from exporter.weights.storing import StoredWeight
from quantize.recipe import Recipe


def _is_graph(unit: Unit, graph: bytes) -> bool:
    """Whether the bytes are an ONNX model with outputs."""
    try:
        return bool(onnx.load_model_from_string(graph).graph.output)
    except DecodeError:
        return False


ONNX = GraphKind(
    "Tracing the graphs",
    ("exporter.onnx.lower", "exporter.onnx.trace_worker"),
    onnx_tool_versions,
    lower,
    _is_graph,
)


@dataclass(frozen=True)
class OnnxGraphs:
    """The graphs of one export and where they come from."""

    contract: Contract
    known: KnownGraphs
    """Serialised models."""

    @cached_property
    def models(self) -> dict[Section, dict[str, onnx.ModelProto]]:
        """By section and signature."""
        return {
            section: {
                unit.signature: onnx.load_model_from_string(self.known.by_unit[unit])
                for unit in units
            }
            for section, units in units_by_section(self.contract).items()
        }

    def weight_inputs(self) -> Iterator[WeightInput]:
        for section, models in self.models.items():
            for model in models.values():
                for name, spec in weight_specs(model).items():
                    yield section, name, spec

    def describe(self) -> dict[str, Any]:
        graphs = {unit.file_name: graph for unit, graph in self.known.by_unit.items()}
        return {**describe(self.known.key, self.known.tools, graphs), "onnx_opset": OPSET}

    def bytes_needed(self, weights: Weights, recipe: Recipe) -> int:
        """Weights are written once, models are small."""
        return stored_size(weights, recipe) + 2 * sum(map(len, self.known.by_unit.values()))

    def bind(
        self, weights: Weights, recipe: Recipe, scratch: Path, progress: Advance
    ) -> dict[Section, list[StoredWeight]]:
        """Write the weights, then the models that refer to them."""
        folder = scratch / FOLDER
        folder.mkdir()
        placed = write_weights(folder, weights, recipe, progress)
        for section, models in self.models.items():
            for signature, unbound in models.items():
                model = onnx.ModelProto()
                model.CopyFrom(unbound)
                bind(model, placed[section])
                content = model.SerializeToString(deterministic=True)
                (folder / (signature + MODEL_SUFFIX)).write_bytes(content)
        return {section: list(map(described, found.values())) for section, found in placed.items()}


def find_graphs(request: LoweringRequest, reporter: Reporter, *, fresh: bool) -> OnnxGraphs:
    """Graphs from the user's cache, else traced now and kept.

    Raises:
        LoweringError: A signature cannot be written in ONNX, or something is not installed.
    """
    units = [
        unit for of_section in units_by_section(request.contract).values() for unit in of_section
    ]
    known = graph_cache.find_graphs(request, units, ONNX, reporter, fresh=fresh)
    return OnnxGraphs(request.contract, known)
