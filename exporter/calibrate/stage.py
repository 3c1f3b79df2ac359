"""What an export decides by running the models over a text: codes by GPTQ, scales of int8 caches.

The modules that do it need torch; this one does not.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from exporter.calibrate.text import DEFAULT_TEXT, CalibrationText, read_text
from exporter.checkpoints.assets.assets import Assets
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Dtype
from exporter.errors import RecipeError
from exporter.options import ExportOptions
from exporter.pip_install import pip_install
from exporter.progress import Reporter
from exporter.weights.matching import Weights
from exporter.weights.parameters import cache_scales


def calibration_text(options: ExportOptions, assets: Assets) -> CalibrationText | None:
    """The user's text, or a short one of all sorts for the caches' scales; None if none is needed.

    Raises:
        RecipeError: The file is no text, or too short; or what runs the models is not installed.
    """
    if not options.reads_text:
        return None
    if options.recipe.calibrated:
        _require_torch("gptq runs the models", "use clip instead")
    if options.kv_dtype is Dtype.INT8:
        _require_torch("--kv-cache int8 runs the target", "leave it out")
    return read_text(options.calibration or DEFAULT_TEXT, assets)


@dataclass(frozen=True)
class Calibration:
    """Runs the models over a text and decides by what it sees."""

    pair: Pair
    options: ExportOptions
    text: CalibrationText
    scratch: Path
    reporter: Reporter

    def run(self, weights: Weights, reader: TensorReader) -> Weights:
        """The weights with what the text has decided."""
        if self.options.recipe.calibrated:
            weights = self.codes(weights)
        if self.options.kv_dtype is Dtype.INT8:
            scales = self.cache_scales(weights, reader)
            weights = {name: {**found, **scales.get(name, {})} for name, found in weights.items()}
        return weights

    def codes(self, weights: Weights) -> Weights:
        """The weights with the codes that the text gives them."""
        from exporter.calibrate.calibration import Models, calibrate, work
        from exporter.calibrate.choice import CodeChoices

        stage = "Choosing codes with the calibration text"
        configs = self.pair.target_config, self.pair.drafter_config
        models, folder = Models(*configs, self.options.draft_length), self._folder("codes")
        with self.reporter.stage(stage, work(weights)) as advance:
            choices = CodeChoices(self.options.recipe, folder, advance)
            return calibrate(weights, models, self.text, choices)

    def cache_scales(self, weights: Weights, reader: TensorReader) -> Weights:
        """The scales of int8 caches, by the sections that read them."""
        from exporter.calibrate.cache_scales import measure_ranges, scale_weights, work
        from exporter.calibrate.choice import CodeChoices

        target, folder = self.pair.target_config, self._folder("scales")
        with self.reporter.stage("Measuring keys and values", work(weights, target)) as advance:
            choices = CodeChoices(self.options.recipe, folder, advance)
            ranges = measure_ranges(weights, target, self.text, choices)
        wanted = cache_scales(target, self.pair.drafter_config)
        return scale_weights(ranges, wanted, folder, reader)

    def _folder(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir()
        return folder


def _require_torch(what: str, instead: str) -> None:
    if importlib.util.find_spec("litert_torch") is None:
        raise RecipeError(
            f"{what} with torch, which is not installed: {pip_install('export')}, or {instead}"
        )
