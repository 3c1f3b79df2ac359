"""The parts that a vision tower is made of.

One picture is one sequence of P patches, the last of which may be padding. Axes: P patches, N heads, D head
dim, H the tower's width. Source: transformers ``models/gemma4/modeling_gemma4.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.model.clipped_linear import ClippedLinear
from exporter.model.text.layers import MASKED_SCORE, RmsNorm
from exporter.model.vision.places import Places

QUERIES = 630
"""Patches of one head whose scores are in memory at a time: a quarter of those of 280 tokens, 6 MB."""


@dataclass(frozen=True)
class Patches:
    """What attention has to know of the patches: where each one is, and which are none."""

    cos: Tensor  # [1, P, 1, D]
    sin: Tensor  # [1, P, 1, D], negative where the swapped dim is subtracted
    ones: Tensor  # [1, P, N, 1]
    hidden: Tensor  # [1, P, N, 1], added to scores: 0, or MASKED_SCORE for padding

    @staticmethod
    def at(places: Places, config: VisionConfig) -> Patches:
        """X turns the first half of the dims, y the other.

        Within a half, dim i of its first half pairs with dim i of its second.
        """
        (cos_x, sin_x), (cos_y, sin_y) = places.waves(config)
        cos = torch.cat([cos_x, cos_x, cos_y, cos_y], dim=-1).unsqueeze(2)
        sin = torch.cat([-sin_x, sin_x, -sin_y, sin_y], dim=-1).unsqueeze(2)
        padding = (places.positions[:, :, :1].float() < 0).float().unsqueeze(2)  # [1, P, 1, 1]
        padding = torch.cat([padding] * config.heads, dim=2)  # a GPU cannot expand
        return Patches(cos, sin, padding * 0.0 + 1.0, padding * MASKED_SCORE)

    def turned(self, x: Tensor) -> Tensor:
        """``x`` ``[1, P, N, D]``, each patch turned by its angles."""
        a, b, c, d = x.chunk(4, dim=-1)
        return x * self.cos + torch.cat([b, a, d, c], dim=-1) * self.sin


class Attention(nn.Module):
    """Every patch attends to every patch that is none of the padding; Gemma 4's scale is 1.

    One head after another: the scores of all are 305 MB for the 2520 patches of 280 tokens, and to take some
    queries of all heads at a time would have XNNPACK pack keys and values anew each time. What hides padding
    is one more dim of the keys, which the queries multiply by 1, so that no pass over the scores has to
    add it.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = (1, -1, config.heads, config.head_dim)
        width, inner = config.hidden_size, config.heads * config.head_dim
        self.q_proj = ClippedLinear(width, inner, clipped=config.clipped)
        self.k_proj = ClippedLinear(width, inner, clipped=config.clipped)
        self.v_proj = ClippedLinear(width, inner, clipped=config.clipped)
        self.o_proj = ClippedLinear(inner, width, clipped=config.clipped)
        self.q_norm = RmsNorm(config.head_dim, config.rms_norm_eps, rank=4)
        self.k_norm = RmsNorm(config.head_dim, config.rms_norm_eps, rank=4)
        self.v_norm = RmsNorm(config.head_dim, config.rms_norm_eps, rank=4, scaled=False)

    def forward(self, x: Tensor, patches: Patches) -> Tensor:
        """``x`` ``[1, P, H]``; returns ``[1, P, H]``."""
        queries = patches.turned(self.q_norm(self.q_proj(x).reshape(self.heads)))
        keys = patches.turned(self.k_norm(self.k_proj(x).reshape(self.heads)))
        values = self.v_norm(self.v_proj(x).reshape(self.heads))
        queries = torch.cat([queries, patches.ones], dim=-1).transpose(1, 2)  # [1, N, P, D + 1]
        keys = torch.cat([keys, patches.hidden], dim=-1).permute(0, 2, 3, 1)  # [1, N, D + 1, P]
        values = values.transpose(1, 2)  # [1, N, P, D]
        of_heads = (x.split(1, dim=1) for x in (queries, keys, values))
        mixed = [_attend(*of_head) for of_head in zip(*of_heads, strict=True)]
        together = torch.cat(mixed, dim=1).transpose(1, 2)  # [1, P, N, D]
        return self.o_proj(together.reshape(1, x.shape[1], -1))  # type: ignore[no-any-return]


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One head: ``[1, 1, P, D + 1]``, ``[1, 1, D + 1, P]`` and ``[1, 1, P, D]`` to ``[1, 1, P, D]``."""
    rows = queries.tensor_split(-(-queries.shape[2] // QUERIES), dim=2)
    return torch.cat([torch.softmax(some @ keys, dim=-1) @ values for some in rows], dim=2)


class ClippedMlp(nn.Module):
    """Gated MLP: ``down(gelu(gate(x)) * up(x))``."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.mlp_width
        self.gate_proj = ClippedLinear(width, inner, clipped=config.clipped)
        self.up_proj = ClippedLinear(width, inner, clipped=config.clipped)
        self.down_proj = ClippedLinear(inner, width, clipped=config.clipped)

    def forward(self, x: Tensor) -> Tensor:
        gate = nn.functional.gelu(self.gate_proj(x), approximate="tanh")
        return self.down_proj(gate * self.up_proj(x))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Attention and MLP, each as a branch with a norm before and after it."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()

        def norm() -> RmsNorm:
            return RmsNorm(config.hidden_size, config.rms_norm_eps, rank=3)

        self.input_layernorm = norm()
        self.self_attn = Attention(config)
        self.post_attention_layernorm = norm()
        self.pre_feedforward_layernorm = norm()
        self.mlp = ClippedMlp(config)
        self.post_feedforward_layernorm = norm()

    def forward(self, x: Tensor, patches: Patches) -> Tensor:
        """``x`` ``[1, P, H]``; returns ``[1, P, H]``."""
        attended = self.self_attn(self.input_layernorm(x), patches)
        x = x + self.post_attention_layernorm(attended)
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))  # type: ignore[no-any-return]
