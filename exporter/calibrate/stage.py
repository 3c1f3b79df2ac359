"""What an export decides by running the models over a text: codes by GPTQ, scales of int8 caches.

The modules that do it need torch; this one does not.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.calibrate.text import DEFAULT_TEXT, CalibrationText, read_text
from exporter.checkpoints.assets.assets import Assets
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.errors import RecipeError
from exporter.options import ExportOptions
from exporter.progress import Reporter
from exporter.weights.matching import Weights

if TYPE_CHECKING:
    from exporter.calibrate.calibration import Models


def calibration_text(options: ExportOptions, assets: Assets) -> CalibrationText | None:
    """The user's text, or a short one of all sorts for the caches' scales; None if none is needed.

    Raises:
        RecipeError: The file is no text, or too short; or what runs the models is not installed.
    """
    if not (options.recipe.calibrated or options.int8_caches):
        return None
    if options.recipe.calibrated:
        _require_torch("gptq runs the models", "use clip instead")
    if options.int8_caches:
        _require_torch("--kv-cache int8 runs the target", "leave it out")
    return read_text(options.calibration or DEFAULT_TEXT, assets)


@dataclass(frozen=True)
class Calibration:
    """The stage and what it works on."""

    pair: Pair
    options: ExportOptions
    text: CalibrationText
    scratch: Path
    reporter: Reporter

    def run(self, weights: Weights, reader: TensorReader) -> Weights:
        """The weights with what the text has decided."""
        if self.options.recipe.calibrated:
            weights = self.codes(weights)
        if self.options.int8_caches:
            scales = self.cache_scales(weights, reader)
            weights = {name: {**found, **scales.get(name, {})} for name, found in weights.items()}
        return weights

    def codes(self, weights: Weights) -> Weights:
        """The weights with the codes that the text gives them."""
        from exporter.calibrate.calibration import calibrate, work

        stage = "Choosing codes with the calibration text"
        with self.reporter.stage(stage, work(weights)) as advance:
            return calibrate(
                weights,
                self.options.recipe,
                self._models(),
                self.text,
                self._folder("codes"),
                advance,
            )

    def cache_scales(self, weights: Weights, reader: TensorReader) -> Weights:
        """The scales of int8 caches, by the sections that read them."""
        from exporter.calibrate.cache_scales import measure_ranges, scale_weights, work

        models, folder = self._models(), self._folder("scales")
        total = work(weights, models.target)
        with self.reporter.stage("Measuring keys and values", total) as advance:
            ranges = measure_ranges(
                weights, self.options.recipe, models, self.text, folder, advance
            )
        return scale_weights(ranges, models, folder, reader)

    def _models(self) -> Models:
        from exporter.calibrate.calibration import Models

        pair = self.pair
        return Models(pair.target_config, pair.drafter_config, self.options.draft_length)

    def _folder(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir()
        return folder


def _require_torch(what: str, instead: str) -> None:
    if importlib.util.find_spec("litert_torch") is None:
        raise RecipeError(
            f"{what} with torch, which is not installed: pip install 'mtp-export[export]', or {instead}"
        )
