"""Bound graphs of a tower, and how to run them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from numpy.typing import NDArray

from exporter.contract.names import Dtype, Section, SignatureSpec
from exporter.litertlm.bind import bind
from exporter.litertlm.tower_graphs import LoweredTower
from exporter.lowering.tower import TowerContract
from exporter.weights.matching import Weights
from quantize.recipe import Recipe

TOKENS = (16, 70)
"""Of the graphs: for the random patches and for the drawn pictures."""

NUMPY = {Dtype.FLOAT32: np.float32, Dtype.BOOL: np.bool_}

Arrays = Mapping[str, NDArray[Any]]


class LiteRtTower:
    """Runs signatures of the sections of a tower."""

    def __init__(
        self,
        graphs: LoweredTower,
        wanted: TowerContract,
        weights: Weights,
        recipe: Recipe,
        folder: Path,
    ) -> None:
        self.signatures = wanted.section_signatures()
        self.files = {section: folder / section.value for section in self.signatures}
        for section, path in self.files.items():
            with path.open("wb") as stream:
                bind(graphs.sections[section], weights[section], recipe, stream)
        self.models = {
            section: CompiledModel.from_file(str(path), HardwareAccelerator.CPU)
            for section, path in self.files.items()
        }

    def run(self, section: Section, signature: str, inputs: Arrays) -> Arrays:
        """Outputs of one call; ``inputs`` must be exactly what the contract lists."""
        spec, model = self.signatures[section][signature], self.models[section]
        given = {n: model.create_input_buffer_by_name(signature, n) for n in spec.inputs}
        made = {n: model.create_output_buffer_by_name(signature, n) for n in spec.outputs}
        for name, buffer in given.items():
            assert inputs[name].shape == spec.inputs[name].shape
            buffer.write(np.ascontiguousarray(inputs[name]))
        model.run_by_name(signature, given, made)
        outputs = {name: _read(buffer, spec, name) for name, buffer in made.items()}
        for buffer in (*given.values(), *made.values()):
            buffer.destroy()
        return outputs


def _read(buffer: Any, spec: SignatureSpec, name: str) -> NDArray[Any]:
    wanted = spec.outputs[name]
    count = int(np.prod(wanted.shape))
    return buffer.read(count, NUMPY[wanted.dtype]).reshape(wanted.shape).copy()  # type: ignore[no-any-return]
