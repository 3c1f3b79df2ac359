"""What the rungs about pictures and those about sound have to know of the kind of tower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from exporter.bundle.reader import Bundle
from exporter.checkpoints.assets.media_tokens import MediumSpelling
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.tensors.tower_names import TowerNames
from exporter.contract.names import Accelerator, Section
from exporter.lowering.tower import TowerContract
from exporter.verify.tower_input import AskedFile, TowerInput
from exporter.weights.matching import WeightSpecs
from exporter.weights.towers import Layout
from runtime_py.chat.media import Medium
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.towers import TowerGraphs

if TYPE_CHECKING:
    from exporter.verify.sides.torch_tower import Source, TorchTower


@dataclass(frozen=True)
class DescribedTower:
    """A tower as a checkpoint's ``config.json`` describes it."""

    layout: Layout
    specs: WeightSpecs
    contract: TowerContract
    """Of graphs for it, of as many soft tokens as the bundle's."""
    activations: int
    """Elements of them that transformers has at a time, at the most."""
    in_torch: Callable[[Source, bool], TorchTower]
    """Our tower with such weights; the second argument says whether it is to compute as graphs for a GPU."""


class TowerKind(Protocol):
    """Pictures or sound, as a bundle takes them."""

    @property
    def medium(self) -> Medium:
        """What parts of messages are."""

    @property
    def marks(self) -> MediumSpelling:
        """What stands for it in templates and configs."""

    @property
    def names(self) -> TowerNames:
        """Of the tower."""

    @property
    def end(self) -> Section:
        """The section for the embedding behind it."""

    @property
    def engine_differs(self) -> float:
        """How far what the engine gives its tower may be from ours, in steps of 8 bits; 0 if not at all."""

    @property
    def contract(self) -> TowerContract:
        """What the bundle's graphs take."""

    def graphs(self, bundle: Bundle, hardware: Hardware) -> TowerGraphs:
        """The sections in LiteRT."""

    def inputs(self) -> tuple[TowerInput, ...]:
        """What every signature is tried with: full, and with padding."""

    def asked(self) -> tuple[AskedFile, ...]:
        """What questions are about; the engine neither resizes nor resamples it."""

    def described(
        self, target: Checkpoint, text_width: int, accelerator: Accelerator
    ) -> DescribedTower | None:
        """The target's tower; None if it describes none."""
