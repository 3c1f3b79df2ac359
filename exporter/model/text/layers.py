"""The parts that target and drafter are made of.

Everything here works on explicit tensors and holds no state between calls. Small vectors (norm
weights, layer scalars) have the rank of the activations they multiply, because a reshape of a
constant is a node that GPU delegates refuse.
Axes are those of ``exporter.contract``. Source: transformers ``models/gemma4/modeling_gemma4.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from exporter.checkpoints.architecture import Rope

MASKED_SCORE = -30000.0
"""Added to the score of a slot that may not be seen.

Finite, so that a row without any visible slot (a padded token of a prefill) stays finite and cannot
poison the cache with NaN; within float16's range, so that the same graph holds on GPU; and far
enough below any score (|q||k| is bounded by the norms, hundreds at most) that exp() gives exactly 0.
"""


class RmsNorm(nn.Module):
    """``x / rms(x) * weight`` over the last axis; without ``weight`` if ``scaled`` is false."""

    def __init__(self, width: int, eps: float, rank: int, *, scaled: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones((1,) * (rank - 1) + (width,))) if scaled else None

    def forward(self, x: Tensor) -> Tensor:
        normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
        return normed if self.weight is None else normed * self.weight


class Mlp(nn.Module):
    """Gated MLP: ``down(gelu(gate(x)) * up(x))``."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, width, bias=False)
        self.up_proj = nn.Linear(hidden_size, width, bias=False)
        self.down_proj = nn.Linear(width, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = nn.functional.gelu(self.gate_proj(x), approximate="tanh")
        return self.down_proj(gate * self.up_proj(x))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines ``[1, T, 1, D/2]`` of one attention kind at the given positions."""

    cos: Tensor
    sin: Tensor

    @staticmethod
    def at(positions: Tensor, rope: Rope, head_dim: int) -> Rotation:
        """Angles of ``positions`` ``[T]``; a partial rotary fraction leaves zero frequencies."""
        turning = int(rope.rotary_fraction * head_dim // 2)
        exponent = torch.arange(0, 2 * turning, 2, dtype=torch.float32) / head_dim
        still = torch.zeros(head_dim // 2 - turning)
        frequencies = torch.cat([1.0 / rope.theta**exponent, still]).reshape(1, 1, 1, -1)
        angles = positions.float().reshape(1, -1, 1, 1) * frequencies
        return Rotation(angles.cos(), angles.sin())

    def apply(self, x: Tensor) -> Tensor:
        """Turn ``x`` ``[1, T, N, D]``; dim i of the first half pairs with dim i of the second."""
        first, second = x.chunk(2, dim=-1)
        return torch.cat(
            [first * self.cos - second * self.sin, second * self.cos + first * self.sin], dim=-1
        )


FEW_ROWS = 256
"""Up to here the cache is the left-hand side of attention's products; see :func:`over_cache`."""


class Attended(Protocol):
    """Keys and values of the slots that a call attends to."""

    @property
    def keys(self) -> Tensor:
        """``[1, K, S, D]``."""

    def scores(self, rows: Tensor) -> Tensor:
        """Products of ``rows`` ``[1, K, R, D]`` with the keys; ``[1, K, R, S]``."""

    def mixed(self, probabilities: Tensor) -> Tensor:
        """The values weighed by ``probabilities`` ``[1, K, R, S]``; ``[1, K, R, D]``."""


class Masking(Protocol):
    """Which slots of the caches the tokens of a call see."""

    def masked(self, scores: Tensor) -> Tensor:
        """``scores`` ``[1, N, T, S]`` in which unseen slots do not count."""


def attend(queries: Tensor, kv: Attended, view: Masking) -> Tensor:
    """Softmax attention with grouped kv heads and Gemma 4's scale of 1.

    Heads that share a kv head become rows of one matrix product, so the cache is read in place and
    never repeated: ``[1, N, T, D]`` is the same memory as ``[1, K, N/K * T, D]``. On which side of
    the products the cache stands is a matter of speed: see :func:`over_cache`.

    Args:
        queries: ``[1, T, N, D]``, normalised and rotated.
        kv: Keys ``[1, K, S, D]`` and values ``[1, K, D, S]``.
        view: Which of the S slots each of the T tokens sees.

    Returns:
        ``[1, T, N * D]``.
    """
    _, tokens, heads, head_dim = queries.shape
    kv_heads, slots = kv.keys.shape[1], kv.keys.shape[2]
    rows = queries.transpose(1, 2).reshape(1, kv_heads, -1, head_dim)
    scores = kv.scores(rows)  # [1, K, N/K * T, S]
    scores = view.masked(scores.reshape(1, heads, tokens, slots))
    probabilities = torch.softmax(scores, dim=-1).reshape(1, kv_heads, -1, slots)
    mixed = kv.mixed(probabilities)  # [1, K, N/K * T, D]
    return mixed.reshape(1, heads, tokens, head_dim).transpose(1, 2).reshape(1, tokens, -1)


def over_cache(rows: Tensor, cache: Tensor) -> Tensor:
    """``rows`` ``[1, K, R, X]`` times the transpose of ``cache`` ``[1, K, Y, X]``: ``[1, K, R, Y]``.

    CPU kernels first copy the right-hand side of a product into their own order. For a few rows
    that copy of the cache costs more than the product itself, so the cache goes to the left, where it
    is read as it lies, and the small result is transposed instead.
    """
    if rows.shape[2] > FEW_ROWS:
        return rows @ cache.transpose(2, 3)
    return (cache @ rows.transpose(2, 3)).transpose(2, 3)


def softcapped(logits: Tensor, cap: float | None) -> Tensor:
    """``cap * tanh(logits / cap)``; the logits unchanged where the model has no cap."""
    return logits if cap is None else torch.tanh(logits / cap) * cap
