"""Weightless LiteRT graphs of one export: shipped, found in the user's cache, or lowered now and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from exporter.bundle.graph_reader import GraphReader, SignatureInfo
from exporter.bundle.signature_check import broken_signatures
from exporter.contract.names import DRAFT_ROUND, Section, SignatureSpec
from exporter.contract.text import Contract
from exporter.errors import LoweringError, listed
from exporter.litertlm.bind import LoweredGraph, bind, parameter_name, stored_size
from exporter.litertlm.constant import Constant
from exporter.litertlm.draft_round import bind_draft_round, draft_round_size, section_and_name
from exporter.litertlm.tower_graphs import LoweredTower, find_tower_graphs, known_tower_graphs
from exporter.lowering import graph_cache
from exporter.lowering.graph_cache import ANEW, LITERT, KnownGraphs, describe
from exporter.lowering.merge import Lowered
from exporter.lowering.tower import TowerRequest
from exporter.lowering.units import LoweringRequest, litert_units
from exporter.progress import Advance, Reporter
from exporter.weights.matching import WeightInput, Weights
from exporter.weights.storing import StoredWeight
from quantize.recipe import Recipe


@dataclass(frozen=True)
class LitertGraphs:
    """The graphs of one export."""

    known: KnownGraphs
    towers: tuple[LoweredTower, ...] = ()

    @cached_property
    def _text(self) -> Lowered:
        """The graphs of target and drafter; joining E2B's takes more than a second."""
        return Lowered.of(self.known.by_unit)

    @cached_property
    def lowered(self) -> Lowered:
        """One graph per section."""
        sections = dict(self._text.sections)
        for tower in self.towers:
            sections |= tower.sections
        return Lowered(sections, self._text.draft_round)

    def weight_inputs(self) -> Iterator[WeightInput]:
        for section, graph in self.lowered.sections.items():
            for name, spec in LoweredGraph(graph).weight_inputs():
                yield section, name, spec
        if self.lowered.draft_round is not None:
            for name, spec in LoweredGraph(self.lowered.draft_round).weight_inputs():
                yield *section_and_name(name), spec

    def describe(self) -> dict[str, Any]:
        graphs = {section.value: graph for section, graph in self._text.sections.items()}
        if self._text.draft_round is not None:
            graphs[DRAFT_ROUND] = self._text.draft_round
        described = describe(self.known.key, self.known.tools, graphs)
        return {**described, **{tower.request.kind: tower.describe() for tower in self.towers}}

    def bytes_needed(self, weights: Weights, recipe: Recipe) -> int:
        """Twice the sections: they are written first and copied into the bundle then."""
        sections = self.lowered.sections.items()
        bound = sum(stored_size(graph, weights[section], recipe) for section, graph in sections)
        return 2 * (bound + draft_round_size(self.lowered, weights))

    def bind(
        self, weights: Weights, recipe: Recipe, scratch: Path, progress: Advance
    ) -> dict[Section, list[StoredWeight]]:
        """Write a file for each section, which has its name, and one for the draft round."""
        written: dict[Section, dict[str, Constant]] = {}
        lengths: dict[Section, int] = {}
        for section, graph in self.lowered.sections.items():
            with (scratch / section.value).open("wb") as stream:
                written[section] = bind(graph, weights[section], recipe, stream, progress)
                lengths[section] = stream.tell()
        if self.lowered.draft_round is not None:
            draft_round = bind_draft_round(self.lowered, weights, recipe, written, lengths)
            (scratch / DRAFT_ROUND).write_bytes(draft_round)
        return {
            section: [constant.stored for constant in constants.values()]
            for section, constants in written.items()
        }


def find_graphs(
    request: LoweringRequest,
    reporter: Reporter,
    *,
    fresh: bool,
    towers: Sequence[TowerRequest] = (),
) -> LitertGraphs:
    """Graphs from the package or the user's cache; those that are not there are lowered now and kept.

    Raises:
        LoweringError: The converter refused a graph, or is not installed.
    """
    units = list(litert_units(request.contract))
    text = graph_cache.find_graphs(request, units, LITERT, reporter, fresh=fresh)
    found = tuple(find_tower_graphs(tower, reporter, fresh=fresh) for tower in towers)
    graphs = LitertGraphs(text, found)
    _require_contract(graphs, request.contract)
    return graphs


def known_graphs(
    request: LoweringRequest, towers: Sequence[TowerRequest] = ()
) -> LitertGraphs | None:
    """Graphs from the package or the user's cache, if all are there; none is lowered."""
    text = graph_cache.find_known(request, list(litert_units(request.contract)))
    found = [known_tower_graphs(tower) for tower in towers]
    if text is None or None in found:
        return None
    return LitertGraphs(text, tuple(tower for tower in found if tower is not None))


def _require_contract(graphs: LitertGraphs, contract: Contract) -> None:
    """Check the signatures of graphs, which may have been kept, before anything is made with them.

    Raises:
        LoweringError: They are not those of the contract.
    """
    have = {s.value: _signatures(s.value, graph) for s, graph in graphs.lowered.sections.items()}
    problems = broken_signatures(contract.section_signatures(), have)
    for tower in graphs.towers:
        problems += broken_signatures(tower.request.contract.section_signatures(), have)
    if graphs.lowered.draft_round is not None:
        drafts = _signatures(DRAFT_ROUND, graphs.lowered.draft_round)
        problems += broken_signatures(
            {Section.MTP_DRAFTER: _draft_round(contract)}, {Section.MTP_DRAFTER.value: drafts}
        )
    if problems:
        raise LoweringError(f"the graphs do not keep the contract; {ANEW}: {listed(problems)}")


def _signatures(name: str, graph: bytes) -> dict[str, SignatureInfo]:
    """Signatures without the inputs that weights will be."""
    return {
        key: replace(
            found, inputs={n: t for n, t in found.inputs.items() if parameter_name(n) is None}
        )
        for key, found in GraphReader(graph, f"the graph of {name}").signatures().items()
    }


def _draft_round(contract: Contract) -> dict[str, SignatureSpec]:
    spec = contract.draft_round_signature()
    return {} if spec is None else {DRAFT_ROUND: spec}
