"""What is lowered: one signature at a time, and all that the graph of one depends on.

So exports that differ in one option (a longer draft, no drafter, a batch) share the graphs of every
signature that the option does not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, ClassVar

from exporter.checkpoints.architecture import DrafterConfig, HeadKind, TargetConfig
from exporter.contract.names import DRAFT_ROUND, Section, SignatureSpec
from exporter.contract.text import Contract


@dataclass(frozen=True)
class LoweringRequest:
    """What the graphs of a bundle depend on; equal requests give equal graphs (of the same tool versions)."""

    target: TargetConfig
    drafter: DrafterConfig | None
    head: HeadKind
    contract: Contract
    maker: ClassVar[str] = "exporter.lowering.signatures"

    def dependencies(self, unit: Unit) -> dict[str, Any]:
        """As :func:`dependencies` finds them."""
        return dependencies(self, unit)


@dataclass(frozen=True)
class Unit:
    """One signature to lower."""

    section: Section
    signature: str

    @property
    def file_name(self) -> str:
        return f"{self.section.value}.{self.signature}"


DRAFT_ROUND_UNIT = Unit(Section.MTP_DRAFTER, DRAFT_ROUND)
"""Lowered beside the drafter's signatures, and kept apart from them."""


def units_by_section(contract: Contract) -> dict[Section, list[Unit]]:
    """Every signature of the model sections, in the order its section has them."""
    return {
        section: [Unit(section, name) for name in signatures]
        for section, signatures in contract.section_signatures().items()
    }


def litert_units(contract: Contract) -> Iterator[Unit]:
    """Every graph of a bundle: those of the sections and, if there is one, that of a draft round."""
    for units in units_by_section(contract).values():
        yield from units
    if contract.draft_round_signature() is not None:
        yield DRAFT_ROUND_UNIT


def dependencies(request: LoweringRequest, unit: Unit) -> dict[str, Any]:
    """All that the graph of one signature depends on but code and tools, as JSON can hold it.

    The target's graphs do not know the drafter. A step of the drafter knows nothing of the target but what
    its inputs and outputs say; a draft round also looks the target's embeddings up.
    """
    contract, drafts = request.contract, unit.section is Section.MTP_DRAFTER
    found = {
        "unit": unit.file_name,
        "target": None if drafts and unit != DRAFT_ROUND_UNIT else asdict(request.target),
        "drafter": asdict(request.drafter) if drafts and request.drafter is not None else None,
        "head": request.head if drafts else None,
        "donors": contract.drafter_donors if drafts else None,
        "caches": [asdict(cache) for cache in contract.kv_caches],
        "accelerator": contract.accelerator,
        "kv_dtype": contract.kv_dtype,
        "ring": None if contract.ring is None else asdict(contract.ring),
        "signature": in_order(_spec(contract, unit)),
    }
    return {name: plain(value) for name, value in found.items()}


def _spec(contract: Contract, unit: Unit) -> SignatureSpec:
    if unit == DRAFT_ROUND_UNIT:
        spec = contract.draft_round_signature()
        assert spec is not None
        return spec
    return contract.section_signatures()[unit.section][unit.signature]


def in_order(spec: SignatureSpec) -> list[Any]:
    """Tensors as lists, because their order is part of a graph."""
    return [
        [name, *asdict(tensor).values()]
        for side in (spec.inputs, spec.outputs)
        for name, tensor in side.items()
    ]


def plain(value: Any) -> Any:
    """Enums and their dictionaries as JSON can hold them."""
    if isinstance(value, dict):
        return {str(plain(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value.value if isinstance(value, Enum) else value
