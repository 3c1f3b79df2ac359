"""The audio tower as the engine calls it: frames of a clip in, soft tokens out.

Two modules, because the engine runs them as two sections: the tower, and the projection into the text
model's width. Axes: F frames, M mel bins, T = F / 4 soft tokens, H the tower's width, D that of its output.
Source: transformers ``models/gemma4/modeling_gemma4.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.checkpoints.audio_architecture import FRAMES_PER_TOKEN, AudioConfig
from exporter.model.audio.layers import EncoderLayer, before_the_clip
from exporter.model.audio.subsampling import Subsampling
from exporter.model.text.layers import RmsNorm


@dataclass(frozen=True)
class Heard:
    """What a tower makes of a clip."""

    features: Tensor  # [1, T, D]
    mask: Tensor  # bool [1, T], true for the tokens of the clip, which come first


class BiasedLinear(nn.Module):
    """A linear layer with a bias of the activations' rank ``[1, 1, D]``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(1, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight) + self.bias


class AudioTower(nn.Module):
    """Frames of one clip to soft tokens."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.subsample_conv_projection = Subsampling(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layer_count))
        self.output_proj = BiasedLinear(config.hidden_size, config.output_size)

    def forward(self, frames: Tensor, mask: Tensor) -> Heard:
        """Encode one clip.

        Args:
            frames: Logarithms of mel energies ``[1, F, M]``; F is a multiple of 4.
            mask: bool ``[1, F]``, true for the frames of the clip, which come first.
        """
        valid = mask.float().unsqueeze(-1)  # [1, F, 1]
        x = self.subsample_conv_projection(frames, valid)
        before_clip = before_the_clip(x.shape[1], self.config.window)
        for layer in self.layers:
            x = layer(x, before_clip)
        of_clip = valid[:, ::FRAMES_PER_TOKEN].reshape(1, -1) > 0.5
        return Heard(self.output_proj(x), of_clip)


class AudioAdapter(nn.Module):
    """Soft tokens of the tower's output ``[1, T, D]`` to embeddings of the text model's width."""

    def __init__(self, config: AudioConfig, text_width: int) -> None:
        super().__init__()
        self.norm = RmsNorm(config.output_size, config.rms_norm_eps, rank=3, scaled=False)
        self.embedding_projection = nn.Linear(config.output_size, text_width, bias=False)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``features`` ``[1, T, D]``, ``mask`` bool ``[1, T]``; tokens that are none become zero."""
        return self.embedding_projection(self.norm(features)) * mask.float().unsqueeze(-1)  # type: ignore[no-any-return]
