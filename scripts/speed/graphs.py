"""One section of a planted pair with signatures of our choice, as a file that LiteRT opens.

A bundle has one ``verify``. To compare several in one process, each is lowered by itself, renamed
``verify_<T>``, joined with the others and bound to one set of weights, which they then share.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from exporter.agreement import choose_head, make_contract
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import DECODE, DRAFT, VERIFY, Section
from exporter.litertlm.bind import bind
from exporter.lowering.graph_cache import LITERT, find_graphs
from exporter.lowering.lower import WORKERS
from exporter.lowering.merge import FILE_IDENTIFIER, merge
from exporter.lowering.units import LoweringRequest, Unit
from exporter.options import ExportOptions
from exporter.progress import SilentReporter
from exporter.weights.matching import find_weights
from exporter.weights.parameters import parameter_specs
from quantize.recipe import Recipe


@dataclass(frozen=True)
class PlantedPair:
    """Checkpoints of one pair: a folder with ``target/`` and ``drafter/``."""

    folder: Path

    def parsed(self) -> Pair:
        """Both configurations."""
        return Pair.of(
            open_checkpoint(self.folder / "target"), open_checkpoint(self.folder / "drafter")
        )

    def request(
        self, recipe: Recipe, cache_length: int, tokens: int = 4, head: HeadKind | None = None
    ) -> LoweringRequest:
        """What a bundle whose ``verify`` takes ``tokens`` tokens asks of the converter."""
        pair = self.parsed()
        options = ExportOptions(
            recipe,
            cache_length,
            (cache_length,),
            draft_length=tokens - 1,
            drafter_head=head,
            fixed_cache_length=True,
        )
        contract = make_contract(pair.target_config, pair.drafter_config, options)
        chosen = choose_head(pair.drafter_config, options)
        return LoweringRequest(pair.target_config, pair.drafter_config, chosen, contract)


@dataclass(frozen=True)
class Wanted:
    """A signature to lower and the name it gets."""

    request: LoweringRequest
    unit: Unit
    name: str


def verify_of(pair: PlantedPair, recipe: Recipe, cache_length: int, tokens: int) -> Wanted:
    """``verify`` of ``tokens`` tokens, called ``verify_<tokens>``; of 1, the ``decode``."""
    request = pair.request(recipe, cache_length, max(tokens, 2))
    if tokens == 1:
        return Wanted(request, Unit(Section.PREFILL_DECODE, DECODE), DECODE)
    return Wanted(request, Unit(Section.PREFILL_DECODE, VERIFY), f"{VERIFY}_{tokens}")


def drafter_of(
    pair: PlantedPair, recipe: Recipe, cache_length: int, head: HeadKind | None = None
) -> Wanted:
    """One draft step."""
    request = pair.request(recipe, cache_length, head=head)
    return Wanted(request, Unit(Section.MTP_DRAFTER, DRAFT), DRAFT)


def _lowered(wanted: Wanted) -> bytes:
    """The renamed graph, shipped, kept or lowered now, as an export finds its graphs."""
    found = find_graphs(wanted.request, [wanted.unit], LITERT, SilentReporter())
    return _renamed(found.by_unit[wanted.unit], wanted.name)


def _renamed(graph: bytes, name: str) -> bytes:
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(graph, 0))
    model.signatureDefs[0].signatureKey = name.encode()
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def write_section(
    pair: PlantedPair, recipe: Recipe, wanted: Sequence[Wanted], output: Path
) -> dict[str, int]:
    """Lower signatures of one section, bind them to shared weights, write ``output``.

    Returns:
        Bytes of every weight as stored, by the parameter's name in the recipe.
    """
    parsed, section = pair.parsed(), wanted[0].unit.section
    with ThreadPoolExecutor(WORKERS) as pool:
        graph = merge(list(pool.map(_lowered, wanted)))
    head = wanted[0].request.head
    specs = parameter_specs(parsed.target_config, parsed.drafter_config, head)
    with TensorReader() as reader, output.open("wb") as stream:
        chosen = {section: specs[section]}
        weights = find_weights(chosen, parsed.target, parsed.drafter, reader)[section]
        constants = bind(graph, weights, recipe, stream)
    return {c.stored.name: c.stored.nbytes for c in constants.values()}
