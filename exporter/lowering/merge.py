"""Joining graphs that were lowered one signature at a time into one flatbuffer.

Signatures are lowered in separate processes, side by side. A section is then one model with all of
their subgraphs; nothing in it refers from one subgraph to another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from exporter.contract.names import Section
from exporter.errors import LoweringError
from exporter.lowering.units import DRAFT_ROUND_UNIT, Unit

FILE_IDENTIFIER = b"TFL3"

SUBGRAPH_REFERENCES = (
    "updateComputationSubgraphIndex",
    "decompositionSubgraphIndex",
    "thenSubgraphIndex",
    "elseSubgraphIndex",
    "condSubgraphIndex",
    "initSubgraphIndex",
    "bodySubgraphIndex",
)
"""Options of operators that name another subgraph."""


@dataclass(frozen=True)
class Lowered:
    """The graphs of one bundle, their weights still inputs.

    ``draft_round`` has one signature, whose weights are those of two sections; None where the contract
    has no such signature.
    """

    sections: dict[Section, bytes]
    draft_round: bytes | None = None

    @staticmethod
    def of(graphs: Mapping[Unit, bytes]) -> Lowered:
        """One graph per section, with its signatures in the order of ``graphs``."""
        sections: dict[Section, list[bytes]] = {}
        for unit, graph in graphs.items():
            if unit != DRAFT_ROUND_UNIT:
                sections.setdefault(unit.section, []).append(graph)
        merged = {section: merge(of_section) for section, of_section in sections.items()}
        return Lowered(merged, graphs.get(DRAFT_ROUND_UNIT))


def merge(graphs: Sequence[bytes]) -> bytes:
    """One flatbuffer with the signatures of all ``graphs``, in order.

    Raises:
        LoweringError: Two graphs have a signature of the same name.
    """
    if len(graphs) == 1:
        return graphs[0]
    first, *others = (schema.ModelT.InitFromObj(schema.Model.GetRootAs(g, 0)) for g in graphs)
    for other in others:
        _append(first, other)
    names = [signature.signatureKey for signature in first.signatureDefs]
    if len(set(names)) != len(names):
        raise LoweringError(f"signatures are not distinct: {names}")
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(first.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _append(model: Any, other: Any) -> None:
    """Move everything of ``other`` into ``model``. Buffer 0 is the empty one in both."""
    subgraph_offset = len(model.subgraphs)
    buffer_offset = len(model.buffers) - 1
    codes = {_code_key(code): index for index, code in enumerate(model.operatorCodes)}
    code_map = []
    for code in other.operatorCodes:
        if _code_key(code) not in codes:
            codes[_code_key(code)] = len(model.operatorCodes)
            model.operatorCodes.append(code)
        code_map.append(codes[_code_key(code)])
    for subgraph in other.subgraphs:
        for tensor in subgraph.tensors:
            tensor.buffer = tensor.buffer + buffer_offset if tensor.buffer else 0
        for operator in subgraph.operators:
            operator.opcodeIndex = code_map[operator.opcodeIndex]
            _shift_references(operator, subgraph_offset)
    for signature in other.signatureDefs:
        signature.subgraphIndex += subgraph_offset
    model.buffers += other.buffers[1:]
    model.subgraphs += other.subgraphs
    model.signatureDefs += other.signatureDefs


def _code_key(code: Any) -> tuple[Any, ...]:
    return code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version


def _shift_references(operator: Any, offset: int) -> None:
    for options in (operator.builtinOptions, operator.builtinOptions2):
        for name in SUBGRAPH_REFERENCES:
            if options is not None and hasattr(options, name):
                setattr(options, name, getattr(options, name) + offset)
