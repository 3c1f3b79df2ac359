"""Frames of sound to tokens, a quarter as many: two convolutions over time and frequency, and a projection.

A convolution is nine strided slices and one matrix product: a convolution whose weight is an input of the
graph would be transposed at every call. Axes: F frames, T tokens, M frequencies, C channels, H the tower's
width. Source: transformers ``models/gemma4/modeling_gemma4.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.checkpoints.audio_architecture import AudioConfig

TAPS = 9
"""Of a kernel of three by three: time before frequency."""


class LayerNorm(nn.Module):
    """``(x - mean) / deviation * weight`` over the channels of ``[1, F, M, C]``."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1, 1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        deviation = torch.rsqrt(centred.square().mean(-1, keepdim=True) + self.eps)
        return centred * deviation * self.weight


class StridedConvolution(nn.Module):
    """A convolution of 3 x 3 and stride 2 whose borders are padded with zeros, a norm and a ReLU.

    The weight is a matrix ``[C', 9 * C]``, the channels of each tap side by side.
    """

    def __init__(self, inputs: int, outputs: int, eps: float) -> None:
        super().__init__()
        self.conv = nn.Linear(TAPS * inputs, outputs, bias=False)
        self.norm = LayerNorm(outputs, eps)

    def forward(self, x: Tensor) -> Tensor:
        """``[1, F, M, C]``, both even, to ``[1, F / 2, M / 2, C']``."""
        frames, bins = x.shape[1], x.shape[2]
        padded = nn.functional.pad(x, (0, 0, 1, 0, 1, 0))  # an even side needs no zeros at its end
        taps = [
            padded[:, i : i + frames - 1 : 2, j : j + bins - 1 : 2]
            for i in range(3)
            for j in range(3)
        ]
        return torch.relu(self.norm(self.conv(torch.cat(taps, dim=-1))))


class Subsampling(nn.Module):
    """Two convolutions, and a projection to the tower's width.

    Frames that are none are zero before each of them: the last frame's neighbour is looked at.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        first, second = config.channels
        self.layer0 = StridedConvolution(1, first, config.rms_norm_eps)
        self.layer1 = StridedConvolution(first, second, config.rms_norm_eps)
        self.input_proj_linear = nn.Linear(config.subsampled_width, config.hidden_size, bias=False)

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """``frames`` ``[1, F, M]``, ``valid`` ``[1, F, 1]`` as 0 and 1; returns ``[1, T, H]``."""
        x = self.layer0((frames * valid).unsqueeze(-1))
        x = self.layer1(x * valid[:, ::2].unsqueeze(-1))
        return self.input_proj_linear(x.reshape(1, x.shape[1], -1))  # type: ignore[no-any-return]
