"""One decoder layer, and the KV caches it writes and reads.

The target and the drafter are stacks of the same layer: one that owns its KV, one that reads an
earlier layer's, and (in the drafter) one that reads another model's. Only the first has key and
value projections.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice
from torch import Tensor, nn

from exporter.config import Layer, TextConfig
from exporter.model.layers import Mlp, RmsNorm, Rotation, attend


@dataclass(frozen=True)
class Kv:
    """The caches of one layer: keys ``[1, K, S, D]``, values ``[1, K, D, S]``."""

    keys: Tensor
    values: Tensor

    def written(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """The caches with T new entries from ``slot`` (int32 scalar tensor) on.

        Args:
            keys: ``[1, T, K, D]``.
            values: ``[1, T, K, D]``.
            slot: First slot written; at least T slots must follow it.
        """
        return self._updated(keys.permute(0, 2, 1, 3), values.permute(0, 2, 3, 1), slot)

    def _updated(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """Write ``keys`` ``[1, K, T, D]`` and ``values`` ``[1, K, D, T]`` at ``slot``."""
        zero = torch.zeros((), dtype=torch.int32)
        return Kv(
            dynamic_update_slice(self.keys, keys, [zero, zero, slot, zero]),
            dynamic_update_slice(self.values, values, [zero, zero, zero, slot]),
        )

    def written_padded(self, keys: Tensor, values: Tensor, slot: Tensor) -> Kv:
        """The same for entries of which the last ones may stick out past the end of the caches.

        The engine pads a prompt to the length of a prefill signature. Near the end of the context
        the padding does not fit, and a plain update slice would move its start back and overwrite
        good entries. So the block is written where it fits, its front refilled with what is there:
        4 entries ``a b . .`` (two of them padding) for slot 6 of 8 are written to slots 4 to 7 as
        ``old[4] old[5] a b``.
        """
        tokens, slots = keys.shape[1], self.keys.shape[2]
        first = torch.clamp(slot + tokens, max=slots) - tokens
        entries = torch.arange(tokens, dtype=torch.int32)
        moved = entries - (slot - first)  # entry of the block that goes to slot first + i
        source, old = torch.clamp(moved, min=0), first + entries
        is_new = (moved >= 0).reshape(1, 1, -1, 1)
        new_keys = keys.index_select(1, source).permute(0, 2, 1, 3)
        new_values = values.index_select(1, source).permute(0, 2, 3, 1)
        return self._updated(
            torch.where(is_new, new_keys, self.keys.index_select(2, old)),
            torch.where(is_new.transpose(2, 3), new_values, self.values.index_select(3, old)),
            first,
        )


@dataclass(frozen=True)
class View:
    """Where the tokens of one call are and what they see, for one attention kind."""

    rotation: Rotation
    bias: Tensor  # [1, 1, T, S]


class Attention(nn.Module):
    """Queries of one layer over some layer's caches; keys and values too if it owns them."""

    def __init__(self, text: TextConfig, layer: Layer, *, writes_kv: bool) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = text.heads, layer.kv_heads, layer.head_dim
        query_width, kv_width = text.heads * layer.head_dim, layer.kv_heads * layer.head_dim
        self.q_proj = nn.Linear(text.hidden_size, query_width, bias=False)
        self.q_norm = RmsNorm(layer.head_dim, text.rms_norm_eps, rank=4)
        self.o_proj = nn.Linear(query_width, text.hidden_size, bias=False)
        if writes_kv:
            self.k_proj = nn.Linear(text.hidden_size, kv_width, bias=False)
            self.v_proj = nn.Linear(text.hidden_size, kv_width, bias=False)
            self.k_norm = RmsNorm(layer.head_dim, text.rms_norm_eps, rank=4)
            self.v_norm = RmsNorm(layer.head_dim, text.rms_norm_eps, rank=4, scaled=False)

    def keys_values(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """Keys and values ``[1, T, K, D]`` of ``x`` ``[1, T, H]``."""
        heads = (1, x.shape[1], self.kv_heads, self.head_dim)
        keys = rotation.apply(self.k_norm(self.k_proj(x).reshape(heads)))
        return keys, self.v_norm(self.v_proj(x).reshape(heads))

    def forward(self, x: Tensor, view: View, kv: Kv) -> Tensor:
        """Attend from ``x`` ``[1, T, H]`` to the caches; returns ``[1, T, H]``."""
        queries = self.q_proj(x).reshape(1, x.shape[1], self.heads, self.head_dim)
        queries = view.rotation.apply(self.q_norm(queries))
        return self.o_proj(attend(queries, kv.keys, kv.values, view.bias))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Attention, MLP and, in the target, the per-layer embedding, each as a normed branch.

    Args:
        text: Dimensions of the stack.
        layer: This layer's own dimensions.
        per_layer_width: P in the target; 0 in the drafter, which has no per-layer embeddings.
        writes_kv: Whether the checkpoint has key and value projections for it.
    """

    def __init__(
        self, text: TextConfig, layer: Layer, *, per_layer_width: int, writes_kv: bool
    ) -> None:
        super().__init__()

        def norm() -> RmsNorm:
            return RmsNorm(text.hidden_size, text.rms_norm_eps, rank=3)

        self.input_layernorm = norm()
        self.self_attn = Attention(text, layer, writes_kv=writes_kv)
        self.post_attention_layernorm = norm()
        self.pre_feedforward_layernorm = norm()
        self.mlp = Mlp(text.hidden_size, layer.mlp_width)
        self.post_feedforward_layernorm = norm()
        if per_layer_width:
            self.per_layer_input_gate = nn.Linear(text.hidden_size, per_layer_width, bias=False)
            self.per_layer_projection = nn.Linear(per_layer_width, text.hidden_size, bias=False)
            self.post_per_layer_input_norm = norm()
        self.layer_scalar = nn.Parameter(torch.ones(1, 1, 1))

    def keys_values(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """Keys and values ``[1, T, K, D]`` of this layer's input ``x`` ``[1, T, H]``."""
        return self.self_attn.keys_values(self.input_layernorm(x), rotation)

    def forward(self, x: Tensor, view: View, kv: Kv, per_layer: Tensor | None = None) -> Tensor:
        """``x`` ``[1, T, H]`` and, in the target, ``per_layer`` ``[1, T, P]``; returns ``[1, T, H]``."""
        attended = self.self_attn(self.input_layernorm(x), view, kv)
        x = x + self.post_attention_layernorm(attended)
        x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        if per_layer is not None:
            gate = nn.functional.gelu(self.per_layer_input_gate(x), approximate="tanh")
            x = x + self.post_per_layer_input_norm(self.per_layer_projection(gate * per_layer))
        return x * self.layer_scalar
