"""One decoder layer.

The target and the drafter are stacks of the same layer: one that owns its KV, one that reads an
earlier layer's, and (in the drafter) one that reads another model's. Only the first has key and
value projections.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.checkpoints.architecture import Layer, TextConfig
from exporter.model.text.kv import KvT, Sight
from exporter.model.text.layers import Mlp, RmsNorm, Rotation


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
        """Keys and values ``[B, T, K, D]`` of ``x`` ``[B, T, H]``."""
        heads = (x.shape[0], x.shape[1], self.kv_heads, self.head_dim)
        keys = rotation.apply(self.k_norm(self.k_proj(x).reshape(heads)))
        return keys, self.v_norm(self.v_proj(x).reshape(heads))

    def forward(self, x: Tensor, view: Sight[KvT], kv: KvT) -> Tensor:
        """Attend from ``x`` ``[B, T, H]`` to what ``view`` shows of the caches; ``[B, T, H]``."""
        queries = self.q_proj(x).reshape(x.shape[0], x.shape[1], self.heads, self.head_dim)
        queries = view.rotation.apply(self.q_norm(queries))
        return self.o_proj(view.attend(queries, kv))  # type: ignore[no-any-return]


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
        """Keys and values ``[B, T, K, D]`` of this layer's input ``x`` ``[B, T, H]``."""
        return self.self_attn.keys_values(self.input_layernorm(x), rotation)

    def forward(
        self, x: Tensor, view: Sight[KvT], kv: KvT, per_layer: Tensor | None = None
    ) -> Tensor:
        """``x`` ``[B, T, H]`` and, in the target, ``per_layer`` ``[B, T, P]``; returns ``[B, T, H]``."""
        attended = self.self_attn(self.input_layernorm(x), view, kv)
        x = x + self.post_attention_layernorm(attended)
        x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        if per_layer is not None:
            gate = nn.functional.gelu(self.per_layer_input_gate(x), approximate="tanh")
            x = x + self.post_per_layer_input_norm(self.per_layer_projection(gate * per_layer))
        return x * self.layer_scalar
