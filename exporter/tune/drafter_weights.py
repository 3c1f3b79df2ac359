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


class StoredDrafter:
    """A drafter with the values that its matrices have once a bundle has stored them.

    Those that are not trained, the head above all, are stored once.

    Args:
        drafter: Copied.
        weights: Its weights, by the names of its parameters.
        recipe: How they are stored.
    """

    def __init__(self, drafter: Drafter, weights: Parameters, recipe: Recipe) -> None:
        self._weights, self._choices = weights, CodeChoices(recipe, Path(), lambda count: None)
        self._deployed = copy.deepcopy(drafter)
        self._store(dict(self._deployed.named_parameters()))

    def of(self, drafter: Drafter) -> Drafter:
        """With the trained values of ``drafter``; the same module every time."""
        self._store(trained(drafter))
        return self._deployed

    @torch.no_grad()
    def _store(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            stored = self._as_stored(value, name) if self._weights[name].is_matrix else value
            self._deployed.get_parameter(name).copy_(stored)

    def _as_stored(self, value: Tensor, name: str) -> Tensor:
        rows = value.detach().cpu().numpy()
        step = max(1, (1 << 22) // rows.shape[1])
        parts = [
            torch.from_numpy(
                self._choices.as_stored(rows[start : start + step], self._weights[name])
            )
            for start in range(0, len(rows), step)
        ]
        return torch.cat(parts)
