"""What a format of the output has to say in an export; the pipeline is the same for all.

A format finds graphs that take their weights as inputs, gives them the weights, and packs the result
with everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from exporter.checkpoints.assets.assets import Assets
from exporter.contract.media import Media
from exporter.contract.names import Section
from exporter.contract.text import Contract
from exporter.extras import require_onnx
from exporter.lowering.tower import TowerRequest
from exporter.lowering.units import LoweringRequest
from exporter.options import OutputFormat
from exporter.progress import Advance, Reporter
from exporter.weights.matching import WeightInput, Weights
from exporter.weights.storing import StoredWeight
from quantize.recipe import Recipe


class WeightlessGraphs(Protocol):
    """The graphs of one export, whose weights are still inputs."""

    def weight_inputs(self) -> Iterator[WeightInput]:
        """The weights that each signature takes."""

    def describe(self) -> Mapping[str, Any]:
        """For the manifest, which does not tell whether they were found or made now."""

    def bytes_needed(self, weights: Weights, recipe: Recipe) -> int:
        """Upper bound of what an export takes on disk while it runs.

        Raises:
            RecipeError: A storage does not fit a weight.
        """

    def bind(
        self, weights: Weights, recipe: Recipe, scratch: Path, progress: Advance
    ) -> Mapping[Section, Sequence[StoredWeight]]:
        """Write graphs and weights to ``scratch``."""


class Format(Protocol):
    """One format of the output: a module with these functions."""

    SUFFIX: str
    """The end of names that are made for outputs."""

    def check_destination(self, output: Path, *, force: bool) -> None:
        """Refuse early what would fail late.

        Raises:
            OutputError: The output cannot be made or replaced.
        """

    def find_graphs(
        self,
        request: LoweringRequest,
        reporter: Reporter,
        *,
        fresh: bool,
        towers: Sequence[TowerRequest],
    ) -> WeightlessGraphs:
        """Graphs that are known, else lowered now and kept; ``fresh`` ones are lowered anyway.

        Args:
            request: Of the text model and its drafter.
            reporter: Told what is going on.
            fresh: Whether what is known is passed over.
            towers: Of the towers for pictures and sound, as far as there are any.

        Raises:
            LoweringError: They cannot be lowered.
        """

    def pack(
        self,
        scratch: Path,
        assets: Assets,
        contract: Contract,
        manifest: Mapping[str, Any],
        media: Media,
    ) -> Path:
        """Put together what ``bind`` left in ``scratch``; returns what is to be published."""

    def publish(self, finished: Path, output: Path, *, force: bool) -> None:
        """Move it to its destination in one step.

        Raises:
            OutputError: Without ``force``: another process has made the output in the meantime.
        """


def format_of(kind: OutputFormat) -> Format:
    """The format of this kind; what it needs is imported now.

    Raises:
        MissingExtraError: The extra that ONNX needs is not installed.
    """
    if kind is OutputFormat.ONNX:
        require_onnx()
        from exporter.onnx import format as onnx_format

        return onnx_format
    from exporter.litertlm import format as litertlm_format

    return litertlm_format
