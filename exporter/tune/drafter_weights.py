"""The drafter as a module: with the checkpoint's values, and with those that a bundle would store."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from exporter.calibrate.choice import CodeChoices
from exporter.checkpoints.architecture import DrafterConfig, HeadKind
from exporter.checkpoints.tensors.tensor_names import HEAD, TOKEN_ORDERING
from exporter.model.text.drafter import Drafter
from exporter.verify.sides.torch_pair import CheckpointRows, filled
from exporter.weights.matching import Weight
from quantize.recipe import Recipe

FROZEN = (HEAD, TOKEN_ORDERING)
"""Parameters that are not trained; nor is a layer's scalar, which is no parameter to transformers."""

LAYER_SCALAR = "layer_scalar"

Parameters = Mapping[str, Weight]


def load_drafter(config: DrafterConfig, weights: Parameters, device: torch.device) -> Drafter:
    """The drafter with the values of its checkpoint, in float32, ready to be trained."""
    head = HeadKind.FULL if config.centroid_head is None else HeadKind.CENTROID
    rows = {name: CheckpointRows(weight) for name, weight in weights.items()}
    drafter = filled(Drafter, (config, head), rows).to(device)
    for name, parameter in drafter.named_parameters():
        trained = name not in FROZEN and not name.endswith(LAYER_SCALAR)
        parameter.requires_grad_(trained)
    return drafter


def trained(drafter: Drafter) -> dict[str, torch.nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: p for name, p in drafter.named_parameters() if p.requires_grad}


def stored(drafter: Drafter, weights: Parameters, recipe: Recipe) -> Drafter:
    """A copy of a drafter, with the values that its matrices have once a bundle has stored them."""
    choices = CodeChoices(recipe, Path(), lambda count: None)
    deployed = copy.deepcopy(drafter)
    for name, parameter in deployed.named_parameters():
        if weights[name].is_matrix:
            with torch.no_grad():
                parameter.copy_(_as_stored(parameter, weights[name], choices))
    return deployed


def _as_stored(parameter: Tensor, weight: Weight, choices: CodeChoices) -> Tensor:
    rows = parameter.detach().cpu().numpy()
    step = max(1, (1 << 22) // rows.shape[1])
    parts = [
        torch.from_numpy(choices.as_stored(rows[start : start + step], weight))
        for start in range(0, len(rows), step)
    ]
    return torch.cat(parts)
