"""The vision tower as the engine calls it: patches of a picture in, soft tokens out.

Two modules, because the engine runs them as two sections: the tower with its pooling, and the projection
into the text model's width. Axes: P patches, T soft tokens, H the tower's width.
Source: transformers ``models/gemma4/modeling_gemma4.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.model.text.layers import RmsNorm
from exporter.model.vision.layers import EncoderLayer, Patches
from exporter.model.vision.places import GpuPlaces, Places


@dataclass(frozen=True)
class Features:
    """What a tower makes of a picture."""

    features: Tensor  # [1, T, H]
    mask: Tensor  # bool [1, T], true for the tokens of the picture, which come first


class PatchEmbedder(nn.Module):
    """Colours and places of patches to the tower's width.

    The position table is one of 2N rows, those of x before those of y: two lookups in one weight.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.input_proj = nn.Linear(config.patch_width, config.hidden_size, bias=False)
        self.position_embedding_table = nn.Parameter(
            torch.empty(2 * config.position_count, config.hidden_size)
        )

    def forward(self, images: Tensor, places: Places) -> Tensor:
        """``images`` ``[1, P, 3 * p * p]`` from 0 to 1; returns ``[1, P, H]``.

        Padding gets the rows of place 0, where transformers gives it none: nothing looks at padding.
        """
        rows = places.rows(self.position_embedding_table)
        return self.input_proj(images * 2.0 - 1.0) + rows  # type: ignore[no-any-return]


class VisionTower(nn.Module):
    """Patches of one picture to soft tokens of the tower's width.

    A tower ``for_gpu`` is made of what LiteRT's GPU delegate has. Its features are not multiplied by the
    root of the width, which could carry them out of float16's range: the adapter norms them anyway.
    """

    def __init__(self, config: VisionConfig, *, for_gpu: bool = False) -> None:
        super().__init__()
        self.config, self.for_gpu = config, for_gpu
        self.patch_embedder = PatchEmbedder(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layer_count))
        if config.standardised:
            self.std_bias = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
            self.std_scale = nn.Parameter(torch.ones(1, 1, config.hidden_size))

    def forward(self, images: Tensor, positions: Tensor) -> Features:
        """Encode one picture.

        Args:
            images: Patches ``[1, P, 3 * p * p]``, row by row; in each, colours of a pixel last. 0 to 1.
            positions: int32 ``[1, P, 2]``, x before y; -1 where there is no patch.
        """
        places = GpuPlaces(positions) if self.for_gpu else Places(positions)
        x = self.patch_embedder(images, places)
        patches = Patches.at(places, self.config)
        for layer in self.layers:
            x = layer(x, patches)
        tokens = x.shape[1] // self.config.patches_per_token
        floats = positions.float()
        return Features(self.pooled(x, floats, tokens), self._of_picture(floats, tokens))

    def pooled(self, x: Tensor, places: Tensor, tokens: int) -> Tensor:
        """What the last layer gave, ``[1, P, H]``, as T soft tokens ``[1, T, H]``."""
        features = pooling_weights(places, tokens, self.config.pooling) @ x
        features = features * features_scale(self.config, for_gpu=self.for_gpu)
        if self.config.standardised:
            features = (features - self.std_bias) * self.std_scale
        return features

    def _of_picture(self, places: Tensor, tokens: int) -> Tensor:
        patches = (places[:, :, 0] >= 0).float().sum(dim=-1, keepdim=True)  # [1, 1]
        first_patches = torch.arange(tokens).float() * self.config.patches_per_token
        return first_patches.reshape(1, -1) < patches


def features_scale(config: VisionConfig, *, for_gpu: bool) -> float:
    """What a tower multiplies pooled features by; where they are standardised, it has to be the root."""
    return 1.0 if for_gpu and not config.standardised else math.sqrt(config.hidden_size)


def pooling_weights(places: Tensor, tokens: int, pooling: int) -> Tensor:
    """What each patch adds to each soft token: a share of the square that it lies in, or nothing.

    Squares are counted row by row over the picture's own width. For example, a picture of 6 by 3 patches with
    squares of 3: the patch at (4, 1) lies in square 4 // 3 + (6 // 3) * (1 // 3) = 1.

    Args:
        places: ``[1, P, 2]`` as floats, x before y; negative for padding, which is in no square.
        tokens: T.
        pooling: Patches along a square's side.

    Returns:
        ``[1, T, P]``.
    """
    squares = torch.floor((places + 0.5) * (1.0 / pooling))  # halfway, so that rounding has no say
    x, y = squares.chunk(2, dim=-1)  # [1, P, 1]
    across = x.amax(dim=1, keepdim=True) + 1.0
    index = (x + across * y).reshape(1, 1, -1)
    wanted = torch.arange(tokens).float().reshape(1, -1, 1)
    return (index == wanted).float() * (1.0 / pooling**2)


class VisionAdapter(nn.Module):
    """Soft tokens of the tower's width ``[1, T, H]`` to embeddings of the text model's."""

    def __init__(self, config: VisionConfig, text_width: int, *, for_gpu: bool = False) -> None:
        super().__init__()
        scale = features_scale(config, for_gpu=for_gpu) / math.sqrt(config.hidden_size)
        eps = config.rms_norm_eps * scale**2
        self.norm = RmsNorm(config.hidden_size, eps, rank=3, scaled=False)
        self.embedding_projection = nn.Linear(config.hidden_size, text_width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.embedding_projection(self.norm(features))  # type: ignore[no-any-return]
