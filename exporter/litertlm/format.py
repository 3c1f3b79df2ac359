"""The export's own part of a ``.litertlm`` file: one flatbuffer per section, packed into one bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from exporter.checkpoints.assets.assets import Assets
from exporter.contract import DRAFT_ROUND, Contract, Section, TensorSpec
from exporter.files.output import check_destination, publish
from exporter.litertlm.bind import LoweredGraph, bind_constants, stored_size
from exporter.litertlm.constant import Constant
from exporter.litertlm.draft_round import bind_draft_round, draft_round_size
from exporter.litertlm.writer import write_bundle
from exporter.lowering import graph_cache
from exporter.lowering.graph_cache import LITERT, KnownGraphs, describe
from exporter.lowering.merge import Lowered
from exporter.lowering.units import LoweringRequest, litert_units
from exporter.progress import Advance, Reporter
from exporter.weights.matching import Weights
from exporter.weights.storing import StoredWeight
from quantize.recipe import Recipe

BUNDLE = "bundle"


@dataclass(frozen=True)
class LitertGraphs:
    """Flatbuffers by section."""

    known: KnownGraphs

    @cached_property
    def lowered(self) -> Lowered:
        """One graph per section."""
        return Lowered.of(self.known.by_unit)

    def weight_specs(self) -> dict[Section, dict[str, TensorSpec]]:
        return {
            section: LoweredGraph(graph).weight_specs()
            for section, graph in self.lowered.sections.items()
        }

    def describe(self) -> dict[str, Any]:
        graphs = {section.value: graph for section, graph in self.lowered.sections.items()}
        if self.lowered.draft_round is not None:
            graphs[DRAFT_ROUND] = self.lowered.draft_round
        return describe(self.known.key, self.known.tools, graphs)

    def bytes_needed(self, weights: Weights, recipe: Recipe) -> int:
        """Twice the sections: they are written first and copied into the bundle then."""
        sections = self.lowered.sections.items()
        bound = sum(stored_size(graph, weights[section], recipe) for section, graph in sections)
        return 2 * (bound + draft_round_size(self.lowered, weights))

    def bind(
        self, weights: Weights, recipe: Recipe, scratch: Path, progress: Advance
    ) -> dict[Section, list[StoredWeight]]:
        lowered = self.lowered
        written: dict[Section, dict[str, Constant]] = {}
        lengths: dict[Section, int] = {}
        for section, graph in lowered.sections.items():
            with (scratch / section.value).open("wb") as stream:
                constants = bind_constants(graph, weights[section], recipe, stream, progress)
                written[section], lengths[section] = constants, stream.tell()
        if lowered.draft_round is not None:
            draft_round = bind_draft_round(lowered, weights, recipe, written, lengths)
            (scratch / DRAFT_ROUND).write_bytes(draft_round)
        return {
            section: [constant.stored for constant in constants.values()]
            for section, constants in written.items()
        }


class LitertLmFormat:
    """A :class:`~exporter.formats.Format`."""

    def check_destination(self, output: Path, *, force: bool) -> None:
        check_destination(output, force=force)

    def find_graphs(
        self, request: LoweringRequest, reporter: Reporter, *, fresh: bool
    ) -> LitertGraphs:
        return find_graphs(request, reporter, fresh=fresh)

    def pack(
        self, scratch: Path, assets: Assets, contract: Contract, manifest: Mapping[str, Any]
    ) -> Path:
        paths = {section: scratch / section.value for section in contract.section_signatures()}
        with (scratch / BUNDLE).open("wb") as stream:
            write_bundle(
                stream,
                paths,
                assets,
                contract,
                manifest,
                scratch,
                _draft_round(scratch),
            )
        return scratch / BUNDLE

    def publish(self, finished: Path, output: Path, *, force: bool) -> None:
        publish(finished, output, force=force)


def _draft_round(scratch: Path) -> Path | None:
    """The bound graph of a draft round, where the contract has one."""
    path = scratch / DRAFT_ROUND
    return path if path.exists() else None


def find_graphs(request: LoweringRequest, reporter: Reporter, *, fresh: bool) -> LitertGraphs:
    """Graphs from the package or the user's cache; those that are not there are lowered now and kept.

    Raises:
        LoweringError: The converter refused a graph, or is not installed.
    """
    units = list(litert_units(request.contract))
    return LitertGraphs(graph_cache.find_graphs(request, units, LITERT, reporter, fresh=fresh))
