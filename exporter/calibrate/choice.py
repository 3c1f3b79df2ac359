"""Choosing the codes of weights, and modules that compute with the values these stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from exporter.calibrate.inputs import InputSums
from exporter.calibrate.spool import spool
from exporter.progress import Advance
from exporter.weights.matching import Weight
from exporter.weights.storing import choose_rule
from quantize.arrays import (
    StoredRows,
    dequantize_rows,
    packed_rows,
    quantize_rows,
    unstored_rows,
)
from quantize.gptq import InputStatistics, gptq_rows
from quantize.recipe import UNQUANTISED, Algorithm, Recipe, Rule

Floats = NDArray[np.float32]
Parameters = Mapping[str, Weight]
"""By parameter name."""

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass
class CodeChoices:
    """Carries a recipe out while the models run.

    ``folder`` keeps codes until they are bound; with GPTQ, about as much as the bundle. ``progress`` is told
    of the checkpoint's bytes as they are done. ``ready`` is filled on the way: weights by their full names,
    with their codes.
    """

    recipe: Recipe
    folder: Path
    progress: Advance
    ready: dict[str, Weight] = field(default_factory=dict)

    def rule(self, weight: Weight) -> Rule:
        """How a weight of float elements is stored."""
        return choose_rule(weight, self.recipe) or UNQUANTISED

    def calibrated(self, weights: Parameters) -> bool:
        """Whether any of ``weights`` wants its inputs to be known."""
        return any(self.rule(weight).algorithm is Algorithm.GPTQ for weight in weights.values())

    def settle(self, module: nn.Module, weights: Parameters, sums: InputSums) -> None:
        """Choose the codes of every matrix of ``module``, which computes with their values afterwards.

        Args:
            module: Filled, its parameters named as in ``weights``.
            weights: Of this module alone.
            sums: Of its matrices' inputs.
        """
        for name, weight in weights.items():
            self.choose(weight, sums, name.removesuffix(".weight"))
            fill(module, name, self.stored_blocks(weight))

    def choose(self, weight: Weight, sums: InputSums, matrix: str) -> None:
        """Choose the codes of one weight if its rule is GPTQ, and spool them."""
        if self.rule(weight).algorithm is Algorithm.GPTQ:
            blocks = self._gptq(weight, sums.statistics(matrix))
            spooled = spool(blocks, self.rule(weight).storage, self.folder, weight.name)
            self.ready[weight.name] = replace(weight, ready=spooled)
        self.progress(weight.tensor.nbytes)

    def _gptq(self, weight: Weight, statistics: InputStatistics) -> Iterator[StoredRows]:
        storage = self.rule(weight).storage
        for rows in weight.blocks():
            yield packed_rows(gptq_rows(rows, statistics, storage), storage)

    def stored_blocks(self, weight: Weight) -> Iterator[Floats]:
        """The values ``[R, C]`` that a weight will be stored as, some rows at a time."""
        weight = self.ready.get(weight.name, weight)
        if weight.ready is not None:
            return float_blocks(weight)
        return (self.as_stored(rows, weight) for rows in weight.blocks())

    def as_stored(self, rows: Floats, weight: Weight) -> Floats:
        """The values that some of a weight's ``rows`` ``[R, C]`` will be stored as."""
        rule = self.rule(weight)
        if not rule.storage.quantised or weight.ready is not None:
            return rows
        return dequantize_rows(quantize_rows(rows, rule.storage, rule.algorithm))


def float_blocks(weight: Weight) -> Iterator[Floats]:
    """The rows of a weight as float32: the values of its codes if it has some, else as they are."""
    if weight.ready is None:
        return weight.blocks()
    storage, length = weight.ready.storage, weight.row_length
    return (dequantize_rows(unstored_rows(s, storage, length)) for s in weight.ready.blocks())


def load(module: ModuleT, weights: Parameters) -> ModuleT:
    """Give a module made on the meta device memory, on torch's default device, and its values."""
    module.to_empty(device=torch.get_default_device())
    for name, weight in weights.items():
        fill(module, name, float_blocks(weight))
    return module.eval()


@torch.no_grad()
def fill(module: nn.Module, name: str, blocks: Iterable[Floats]) -> None:
    """Copy rows into one parameter."""
    parameter = module.get_parameter(name)
    flat, row = parameter.view(-1, parameter.shape[-1]), 0
    for block in blocks:
        flat[row : row + len(block)] = torch.from_numpy(np.array(block))
        row += len(block)


def under(weights: Parameters, prefix: str) -> dict[str, Weight]:
    """The weights whose names begin with ``prefix``, by the rest of their names."""
    return {
        name.removeprefix(prefix): weight
        for name, weight in weights.items()
        if name.startswith(prefix)
    }
