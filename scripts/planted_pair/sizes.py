"""The shapes of planted pairs: what a config.json says, and which tensors follow from it.

Knows numbers and names; does not know what is written into the tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pair_parts import BOS, DRAFTER_LAYERS, EOS, FULL, PAD, ROPE, SLIDING, STOP_IDS

TARGET_PREFIX = "model.language_model."

Shapes = dict[str, tuple[int, ...]]
"""Tensors of a checkpoint by name."""


@dataclass(frozen=True)
class Stack:
    """One stack of decoder layers; `mlp_widths` has an entry per layer."""

    hidden: int
    layers: tuple[str, ...]
    heads: int
    kv_heads: int
    head_dim: int
    full_head_dim: int
    mlp_widths: tuple[int, ...]
    owners: int  # layers with keys and values of their own; the first ones
    per_layer_width: int = 0

    def width(self, layer: int) -> int:
        """Head dim of one layer."""
        return self.full_head_dim if self.layers[layer] == FULL else self.head_dim

    def shapes(self, prefix: str) -> Shapes:
        """The tensors of all layers."""
        shapes: Shapes = {}
        for layer in range(len(self.layers)):
            at = f"{prefix}layers.{layer}."
            shapes |= {at + name: shape for name, shape in self._layer(layer).items()}
        return shapes

    def _layer(self, layer: int) -> Shapes:
        hidden, mlp, head_dim = self.hidden, self.mlp_widths[layer], self.width(layer)
        queries, keys = self.heads * head_dim, self.kv_heads * head_dim
        shapes: Shapes = {
            "input_layernorm.weight": (hidden,),
            "post_attention_layernorm.weight": (hidden,),
            "pre_feedforward_layernorm.weight": (hidden,),
            "post_feedforward_layernorm.weight": (hidden,),
            "layer_scalar": (1,),
            "self_attn.q_proj.weight": (queries, hidden),
            "self_attn.q_norm.weight": (head_dim,),
            "self_attn.o_proj.weight": (hidden, queries),
            "mlp.gate_proj.weight": (mlp, hidden),
            "mlp.up_proj.weight": (mlp, hidden),
            "mlp.down_proj.weight": (hidden, mlp),
        }
        if layer < self.owners:
            shapes |= {
                "self_attn.k_proj.weight": (keys, hidden),
                "self_attn.v_proj.weight": (keys, hidden),
                "self_attn.k_norm.weight": (head_dim,),
            }
        if self.per_layer_width:
            shapes |= {
                "per_layer_input_gate.weight": (self.per_layer_width, hidden),
                "per_layer_projection.weight": (hidden, self.per_layer_width),
                "post_per_layer_input_norm.weight": (hidden,),
            }
        return shapes


@dataclass(frozen=True)
class Size:
    """A target and its drafter."""

    name: str
    vocab: int
    window: int
    max_position: int
    target: Stack
    double_wide: bool
    drafter: Stack
    centroids: int
    top_centroids: int

    @property
    def cluster(self) -> int:
        """Tokens of one centroid."""
        return self.vocab // self.centroids

    def target_shapes(self) -> Shapes:
        """Tensors of the target."""
        text, at = self.target, TARGET_PREFIX
        per_layer = len(text.layers) * text.per_layer_width
        return {
            f"{at}embed_tokens.weight": (self.vocab, text.hidden),
            f"{at}embed_tokens_per_layer.weight": (self.vocab, per_layer),
            f"{at}per_layer_model_projection.weight": (per_layer, text.hidden),
            f"{at}per_layer_projection_norm.weight": (text.per_layer_width,),
            **text.shapes(at),
            f"{at}norm.weight": (text.hidden,),
        }

    def drafter_shapes(self) -> Shapes:
        """Tensors of the drafter."""
        hidden, backbone = self.drafter.hidden, self.target.hidden
        return {
            "pre_projection.weight": (hidden, 2 * backbone),
            "post_projection.weight": (backbone, hidden),
            "masked_embedding.centroids.weight": (self.centroids, hidden),
            "masked_embedding.token_ordering": (self.vocab,),
            "model.embed_tokens.weight": (self.vocab, hidden),
            **self.drafter.shapes("model."),
            "model.norm.weight": (hidden,),
        }

    def target_config(self) -> dict[str, Any]:
        """The target's config.json, as published Gemma 4 checkpoints spell it."""
        text = self._text_config(self.target)
        text |= {
            "final_logit_softcapping": 30.0,
            "hidden_size_per_layer_input": self.target.per_layer_width,
            "vocab_size_per_layer_input": self.vocab,
            "num_kv_shared_layers": len(self.target.layers) - self.target.owners,
            "use_double_wide_mlp": self.double_wide,
        }
        return {
            "architectures": ["Gemma4ForConditionalGeneration"],
            "model_type": "gemma4",
            "audio_config": None,
            "vision_config": None,
            "dtype": "bfloat16",
            "eos_token_id": STOP_IDS,
            "text_config": dict(sorted(text.items())),
            "tie_word_embeddings": True,
        }

    def drafter_config(self) -> dict[str, Any]:
        """The drafter's config.json."""
        text = self._text_config(self.drafter)
        text |= {
            "final_logit_softcapping": None,
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
            "num_kv_shared_layers": len(self.drafter.layers),
            "use_double_wide_mlp": False,
        }
        return {
            "architectures": ["Gemma4AssistantForCausalLM"],
            "model_type": "gemma4_assistant",
            "backbone_hidden_size": self.target.hidden,
            "centroid_intermediate_top_k": self.top_centroids,
            "dtype": "bfloat16",
            "eos_token_id": STOP_IDS,
            "num_centroids": self.centroids,
            "text_config": dict(sorted(text.items())),
            "tie_word_embeddings": True,
            "use_ordered_embeddings": True,
        }

    def _text_config(self, stack: Stack) -> dict[str, Any]:
        return {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "attention_k_eq_v": False,
            "bos_token_id": BOS,
            "dtype": "bfloat16",
            "enable_moe_block": False,
            "eos_token_id": EOS,
            "global_head_dim": stack.full_head_dim,
            "head_dim": stack.head_dim,
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": stack.hidden,
            "initializer_range": 0.02,
            "intermediate_size": stack.mlp_widths[0],
            "layer_types": list(stack.layers),
            "max_position_embeddings": self.max_position,
            "model_type": "gemma4_text",
            "num_attention_heads": stack.heads,
            "num_global_key_value_heads": None,
            "num_hidden_layers": len(stack.layers),
            "num_key_value_heads": stack.kv_heads,
            "pad_token_id": PAD,
            "rms_norm_eps": 1e-6,
            "rope_parameters": ROPE,
            "sliding_window": self.window,
            "tie_word_embeddings": True,
            "use_bidirectional_attention": None,
            "use_cache": True,
            "vocab_size": self.vocab,
        }


def _every(period: int, count: int) -> tuple[str, ...]:
    """`count` layers, every `period`-th with full attention."""
    return tuple(FULL if (i + 1) % period == 0 else SLIDING for i in range(count))


def _drafter(hidden: int, mlp: int, kv_heads: int, head_dim: int) -> Stack:
    widths = (mlp,) * len(DRAFTER_LAYERS)
    return Stack(hidden, DRAFTER_LAYERS, 4, kv_heads, head_dim, 2 * head_dim, widths, owners=0)


def _gemma(
    name: str,
    hidden: int,
    layers: tuple[str, ...],
    owners: int,
    mlps: tuple[int, int],
    kv: int,
    vocab: int = 262144,
) -> Size:
    """A size with real widths; `mlps` are the MLP widths of owners and of the others."""
    widths = (mlps[0],) * owners + (mlps[1],) * (len(layers) - owners)
    return Size(
        name=name,
        vocab=vocab,
        window=512,
        max_position=131072,
        target=Stack(hidden, layers, 8, kv, 256, 512, widths, owners, per_layer_width=256),
        double_wide=mlps[0] != mlps[1],
        drafter=_drafter(256, 2048, kv, 256),
        centroids=vocab // 128,
        top_centroids=32,
    )


MID_LAYERS = (SLIDING, FULL, SLIDING, SLIDING, FULL)
"""The last one is full: transformers makes it so whatever a config says."""

SIZES = {
    size.name: size
    for size in (
        Size(
            name="small",
            vocab=4096,
            window=64,
            max_position=2048,
            target=Stack(
                256, _every(3, 6), 4, 1, 32, 64, (512,) * 3 + (1024,) * 3, 3, per_layer_width=64
            ),
            double_wide=True,
            drafter=_drafter(128, 256, 1, 32),
            centroids=64,
            top_centroids=8,
        ),
        # Over 1 GB in tensors of at most 64 MiB, and few layers so that lowering stays cheap.
        Size(
            name="mid",
            vocab=16384,
            window=512,
            max_position=8192,
            target=Stack(2048, MID_LAYERS, 8, 1, 128, 256, (16384,) * 5, 3, per_layer_width=256),
            double_wide=False,
            drafter=_drafter(256, 1024, 1, 128),
            centroids=128,
            top_centroids=16,
        ),
        # E2B's widths; what exporters that hold all weights as float32 can take on 24 GB, too.
        _gemma("e2b-short", 1536, _every(5, 15), owners=10, mlps=(6144, 12288), kv=1, vocab=32768),
        _gemma("e2b", 1536, _every(5, 35), owners=15, mlps=(6144, 12288), kv=1),
        _gemma("e4b", 2560, _every(6, 42), owners=24, mlps=(10240, 10240), kv=2),
    )
}
"""Presets by name."""
