"""Linear layers of towers: their inputs and outputs are clipped to ranges that came with the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ClippedLinear(nn.Module):
    """A linear layer whose input and output are clipped to ranges that came with the weights.

    The bounds have the rank of the activations, as other vectors do (see ``exporter.model.text.layers``).
    """

    def __init__(self, inputs: int, outputs: int, *, clipped: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.clipped = clipped
        if clipped:
            self.input_min, self.input_max = _bound(), _bound()
            self.output_min, self.output_max = _bound(), _bound()

    def forward(self, x: Tensor) -> Tensor:
        if not self.clipped:
            return self.linear(x)  # type: ignore[no-any-return]
        x = torch.minimum(torch.maximum(x, self.input_min), self.input_max)
        return torch.minimum(torch.maximum(self.linear(x), self.output_min), self.output_max)


def _bound() -> nn.Parameter:
    return nn.Parameter(torch.zeros(1, 1, 1))
