"""The parts that the stack of an audio tower is made of.

One clip is one sequence of T tokens; those after its end are padding. No layer looks ahead: attention and
the convolution see a token and those before it. So padding, which lies behind all tokens of the clip, needs
no mask here. Axes: T tokens, N heads, D head dim, W tokens that attention sees, H the tower's width.
Source: transformers ``models/gemma4/modeling_gemma4.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from exporter.checkpoints.audio_architecture import AudioConfig
from exporter.model.clipped_linear import ClippedLinear
from exporter.model.text.layers import MASKED_SCORE, RmsNorm, softcapped

DEFAULT_EPS = 1e-6
"""Of the norms of MLPs, attention and a layer's end, whatever the configuration says."""

FLOAT16_LARGEST = 65504.0
"""Clips are no wider, so that the same graph holds in float16."""


def gradient_clipped(x: Tensor, config: AudioConfig) -> Tensor:
    """``x`` with magnitudes up to the configured one."""
    bound = min(config.gradient_clipping, FLOAT16_LARGEST)
    return x.clamp(-bound, bound)


def latest(x: Tensor, count: int) -> list[Tensor]:
    """``x`` ``[1, T, ...]`` as it was 0, 1, 2, ... tokens before; zeros where that was before the clip."""
    tokens, most = x.shape[1], count - 1
    padded = nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (most, 0))
    return [padded[:, most - distance : most - distance + tokens] for distance in range(count)]


def summed(terms: Sequence[Tensor]) -> Tensor:
    """The sum of some tensors, one after the other."""
    return reduce(torch.add, terms)


class Attention(nn.Module):
    """Each token attends to the W latest, itself included: to the key of d tokens before, and to ``R_d``.

    A product of queries with shifted keys per distance, where the reference cuts the sequence into blocks.

    Parameters:
        query_scale: ``[1, 1, 1, D]``; all that scales queries and keys.
        relative_keys: ``[N * W, H]``; ``R_d`` of every head, whose D columns are its own and the others
            zero. Made of weights alone, so while binding. A matrix that all heads share: a product with
            one for each head is a constant reshaped, which GPU delegates refuse.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = (1, -1, config.heads, config.head_dim)
        width = config.hidden_size
        self.q_proj = ClippedLinear(width, width, clipped=config.clipped)
        self.k_proj = ClippedLinear(width, width, clipped=config.clipped)
        self.v_proj = ClippedLinear(width, width, clipped=config.clipped)
        self.post = ClippedLinear(width, width, clipped=config.clipped)
        self.query_scale = nn.Parameter(torch.ones(1, 1, 1, config.head_dim))
        self.relative_keys = nn.Parameter(torch.zeros(config.heads * config.window, width))

    def forward(self, x: Tensor, before_clip: Tensor) -> Tensor:
        """``x`` ``[1, T, H]``, ``before_clip`` as :func:`before_the_clip` makes it; returns ``[1, T, H]``."""
        queries = self.q_proj(x).reshape(self.heads) * self.query_scale
        keys = latest(self.k_proj(x).reshape(self.heads), self.config.window)
        values = latest(self.v_proj(x).reshape(self.heads), self.config.window)
        scores = [(queries * some).sum(-1, keepdim=True) for some in keys]  # [1, T, N, 1]
        relative = nn.functional.linear(queries.reshape(x.shape), self.relative_keys)
        relative = relative.reshape(1, -1, self.config.heads, self.config.window)
        capped = softcapped(torch.cat(scores, dim=-1) + relative, self.config.logit_cap)
        weights = torch.softmax(capped + before_clip, dim=-1)  # [1, T, N, W]
        shares = torch.split(weights, 1, dim=-1)
        mixed = summed([some * share for some, share in zip(values, shares, strict=True)])
        return self.post(mixed.reshape(x.shape))  # type: ignore[no-any-return]


def before_the_clip(tokens: int, window: int) -> Tensor:
    """What hides tokens before the first one: ``[1, T, 1, W]``, 0 or MASKED_SCORE."""
    token = torch.arange(tokens).reshape(1, -1, 1, 1)
    return (token < torch.arange(window)).float() * MASKED_SCORE


class FeedForward(nn.Module):
    """MLP without a gate, between two norms; a part of its output is added to its input."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        width, inner = config.hidden_size, config.mlp_width
        self.ffw_layer_1 = ClippedLinear(width, inner, clipped=config.clipped)
        self.ffw_layer_2 = ClippedLinear(inner, width, clipped=config.clipped)
        self.pre_layer_norm = RmsNorm(width, DEFAULT_EPS, rank=3)
        self.post_layer_norm = RmsNorm(width, DEFAULT_EPS, rank=3)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.ffw_layer_1(self.pre_layer_norm(gradient_clipped(x, self.config)))
        outer = self.ffw_layer_2(nn.functional.silu(inner))
        added = self.post_layer_norm(gradient_clipped(outer, self.config))
        return x + added * self.config.residual_weight  # type: ignore[no-any-return]


class DepthwiseConvolution(nn.Module):
    """A convolution over the latest tokens, each channel by itself: a sum of shifted products.

    Its taps are parameters of their own, ``[1, 1, H]``, the earliest token's first: a slice of a constant is
    a node that GPU delegates refuse.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.taps = nn.ParameterList(torch.zeros(1, 1, width) for _ in range(config.kernel))

    def forward(self, x: Tensor) -> Tensor:
        taps = reversed(list(self.taps))
        return summed(
            [some * tap for some, tap in zip(latest(x, len(self.taps)), taps, strict=True)]
        )


class LightConvolution(nn.Module):
    """A gated linear layer, a depthwise convolution and another linear layer, added to the input."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.linear_start = ClippedLinear(width, 2 * width, clipped=config.clipped)
        self.linear_end = ClippedLinear(width, width, clipped=config.clipped)
        self.depthwise_conv1d = DepthwiseConvolution(config)
        self.pre_layer_norm = RmsNorm(width, config.rms_norm_eps, rank=3)
        self.conv_norm = RmsNorm(width, config.rms_norm_eps, rank=3)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.linear_start(self.pre_layer_norm(x)).chunk(2, dim=-1)
        mixed = self.depthwise_conv1d(value * torch.sigmoid(gate))
        normed = self.conv_norm(gradient_clipped(mixed, self.config))
        return x + self.linear_end(nn.functional.silu(normed))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """An MLP, attention, a convolution, another MLP, and a norm."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.feed_forward1 = FeedForward(config)
        self.norm_pre_attn = RmsNorm(config.hidden_size, DEFAULT_EPS, rank=3)
        self.self_attn = Attention(config)
        self.norm_post_attn = RmsNorm(config.hidden_size, DEFAULT_EPS, rank=3)
        self.lconv1d = LightConvolution(config)
        self.feed_forward2 = FeedForward(config)
        self.norm_out = RmsNorm(config.hidden_size, DEFAULT_EPS, rank=3)

    def forward(self, x: Tensor, before_clip: Tensor) -> Tensor:
        """``x`` ``[1, T, H]``; returns ``[1, T, H]``."""
        x = self.feed_forward1(x)
        normed = self.norm_pre_attn(gradient_clipped(x, self.config))
        attended = self.self_attn(normed, before_clip)
        x = x + self.norm_post_attn(gradient_clipped(attended, self.config))
        x = self.feed_forward2(self.lconv1d(x))
        return self.norm_out(gradient_clipped(x, self.config))  # type: ignore[no-any-return]
