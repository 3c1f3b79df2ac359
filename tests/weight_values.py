"""Every weight of the tiny pair's graphs, read as an export reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.lora.adapter import open_adapter
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.weights.matching import find_weights
from exporter.weights.parameters import parameter_specs
from tests.bundles import TINY_DRAFTER, TINY_TARGET

Floats = NDArray[np.float32]
Values = Mapping[str, Floats]


def values(target: Checkpoint | None, drafter: Checkpoint | None) -> dict[str, Floats]:
    """Every float weight of the graphs by the name that recipes match."""
    pair = open_checkpoint(TINY_TARGET), open_checkpoint(TINY_DRAFTER)
    configs = parse_target(pair[0].config, ""), parse_drafter(pair[1].config, "")
    specs = parameter_specs(*configs, HeadKind.CENTROID)
    wanted = {s: w for s, w in specs.items() if (s is Section.MTP_DRAFTER) == (target is None)}
    with TensorReader() as reader:
        found = find_weights(wanted, target or pair[0], drafter, reader)
        return {
            weight.name: np.concatenate(list(weight.blocks()))
            for weights in found.values()
            for weight in weights.values()
            if weight.spec.dtype.value == "float32"
        }


def adapted(folder: Path, adapter: Path) -> Checkpoint:
    return replace(open_checkpoint(folder), adapter=open_adapter(adapter))
