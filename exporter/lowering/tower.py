"""What is lowered of a tower: the signatures of its encoder and adapter.

A graph depends on the tower and on one signature, so E2B and E4B share the encoder's, and an option that adds
a signature lowers only that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from exporter.checkpoints.audio_architecture import AudioConfig
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Section, SignatureSpec
from exporter.lowering.units import Unit, in_order, plain


class TowerContract(Protocol):
    """What crosses the boundary of a tower's graphs."""

    def end_signature(self) -> SignatureSpec:
        """Nothing in, the embedding of the token that ends a picture or a clip out."""

    def section_signatures(self) -> dict[Section, dict[str, SignatureSpec]]:
        """Every section with the signatures it must hold: encoder, adapter, end."""


@dataclass(frozen=True)
class TowerRequest:
    """What the graphs of one tower depend on."""

    config: VisionConfig | AudioConfig
    contract: TowerContract
    kind: ClassVar[str]
    """What the tower is for, in a word."""
    maker: ClassVar[str]
    """The module that makes what is traced; see :class:`~exporter.lowering.lower.Traceable`."""

    @property
    def end(self) -> tuple[Section, str]:
        """The last section and its only signature, a constant, which is not lowered."""
        *_, (section, signatures) = self.contract.section_signatures().items()
        return section, next(iter(signatures))

    def units(self) -> list[Unit]:
        """Every signature that is lowered, section by section."""
        found = self.contract.section_signatures()
        return [Unit(s, name) for s in found if s is not self.end[0] for name in found[s]]

    def spec(self, unit: Unit) -> SignatureSpec:
        """What crosses the boundary of one of the graphs."""
        return self.contract.section_signatures()[unit.section][unit.signature]

    def dependencies(self, unit: Unit) -> dict[str, Any]:
        """All that the graph of one signature depends on but code and tools, as JSON can hold it."""
        signature = in_order(self.spec(unit))
        found = {"unit": unit.file_name, self.kind: asdict(self.config), "signature": signature}
        return {name: plain(value) for name, value in found.items()}
