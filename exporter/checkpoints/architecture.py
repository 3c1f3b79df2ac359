"""What a Gemma 4 target and its drafter are made of, as frozen values.

Derived facts (which layer's KV cache the drafter reads) are properties, so that they cannot disagree.
Graphs are made from these values, so every edit of this code changes the keys of all graphs. How a
``config.json`` is read is in ``exporter/checkpoints/configs/`` and does not change them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class AttentionKind(enum.Enum):
    """How far a layer sees: the last ``sliding_window`` tokens, or everything."""

    SLIDING = "sliding_attention"
    FULL = "full_attention"


@dataclass(frozen=True)
class Rope:
    """Rotary embedding of one attention kind.

    ``rotary_fraction`` below 1 is transformers' "proportional" type: the first fraction of the
    frequencies turns, the others are zero (angle 0, so those dims pass through unchanged).
    """

    theta: float
    rotary_fraction: float


@dataclass(frozen=True)
class Layer:
    """One decoder layer. ``kv_owner`` is the layer whose KV cache it attends to (often itself)."""

    index: int
    kind: AttentionKind
    kv_owner: int
    head_dim: int
    kv_heads: int
    mlp_width: int

    @property
    def owns_kv(self) -> bool:
        """Whether this layer computes keys and values of its own."""
        return self.kv_owner == self.index


@dataclass(frozen=True)
class TextConfig:
    """The decoder stack that target and drafter have in common."""

    hidden_size: int
    heads: int
    vocab_size: int
    sliding_window: int
    rms_norm_eps: float
    rope: Mapping[AttentionKind, Rope]
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class TargetConfig:
    """A Gemma 4 text model with per-layer embeddings (E2B, E4B and models of their shape)."""

    text: TextConfig
    per_layer_width: int
    per_layer_vocab_size: int
    logit_softcap: float | None
    max_position: int

    @property
    def kv_owners(self) -> tuple[Layer, ...]:
        """Layers with a KV cache of their own, in order; cache ``i`` of the contract is entry i."""
        return tuple(layer for layer in self.text.layers if layer.owns_kv)

    def kv_donor(self, kind: AttentionKind) -> Layer:
        """The last layer of ``kind`` that owns KV: later layers and the drafter read its cache."""
        return [layer for layer in self.kv_owners if layer.kind is kind][-1]


@dataclass(frozen=True)
class CentroidHead:
    """The drafter's ordered-embedding head: ``top_k`` of ``count`` clusters are scored in full."""

    count: int
    top_k: int


@dataclass(frozen=True)
class DrafterConfig:
    """A Gemma 4 assistant: a few query-only layers over the target's KV caches."""

    text: TextConfig
    backbone_hidden_size: int
    centroid_head: CentroidHead | None


class HeadKind(enum.StrEnum):
    """How the drafter scores the vocabulary."""

    CENTROID = "centroid"
    """Only the tokens of the clusters nearest to the hidden state, as the checkpoint was trained."""
    FULL = "full"
    """Every token, with the same embedding rows."""
