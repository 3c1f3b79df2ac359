"""Which parameters a model has, as a table: names with the layer index abstracted, and shapes.

This says without torch what ``exporter.model.text`` will ask for, so that a checkpoint is checked before
anything expensive starts. A test compares it with the modules' own parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.checkpoints.architecture import (
    DrafterConfig,
    HeadKind,
    Layer,
    TargetConfig,
    TextConfig,
)
from exporter.checkpoints.tensors.tensor_names import TOKEN_ORDERING
from exporter.contract.names import Dtype, Section, TensorSpec

Specs = dict[str, TensorSpec]

SCALED = ("keys", "values")
"""What of a cache has scales of its own."""


@dataclass(frozen=True)
class CacheScales:
    """Scales of the keys or the values of one int8 cache: a parameter that no checkpoint has."""

    section: Section
    parameter: str
    layer: int
    """The target's layer that owns the cache."""
    part: str
    """One of :data:`SCALED`."""
    spec: TensorSpec


def parameter_specs(
    target: TargetConfig,
    drafter: DrafterConfig | None,
    head: HeadKind,
    kv_dtype: Dtype = Dtype.FLOAT32,
) -> dict[Section, Specs]:
    """Every parameter of every section, by the names the graphs use; with the scales of int8 caches."""
    text, per_layer = target.text, len(target.text.layers) * target.per_layer_width
    sections = {
        Section.EMBEDDER: {"weight": TensorSpec((text.vocab_size, text.hidden_size))},
        Section.PER_LAYER_EMBEDDER: {
            "weight": TensorSpec((target.per_layer_vocab_size, per_layer))
        },
        Section.PREFILL_DECODE: dict(_target(target)),
    }
    if drafter is not None:
        sections[Section.MTP_DRAFTER] = dict(_drafter(drafter, head))
    if kv_dtype is Dtype.INT8:
        for scales in cache_scales(target, drafter):
            sections[scales.section][scales.parameter] = scales.spec
    return sections


def cache_scales(target: TargetConfig, drafter: DrafterConfig | None) -> Iterator[CacheScales]:
    """The scales of int8 caches; a drafter has those of the caches that it reads, too."""
    caches = [(Section.PREFILL_DECODE, str(owner.index), owner) for owner in target.kv_owners]
    if drafter is not None:
        kinds = dict.fromkeys(layer.kind for layer in drafter.text.layers)
        caches += [(Section.MTP_DRAFTER, kind.value, target.kv_donor(kind)) for kind in kinds]
    for section, cache, owner in caches:
        for part in SCALED:
            spec = _vector(owner.head_dim, rank=4)
            yield CacheScales(section, scale_name(cache, part), owner.index, part, spec)


def scale_name(cache: str, part: str) -> str:
    """Parameter name of some scales.

    Args:
        cache: What the section calls the layer: the target its index, the drafter its kind.
        part: One of :data:`SCALED`.
    """
    return f"kv_scales.{cache}.{part}"


def _vector(width: int, rank: int = 3) -> TensorSpec:
    return TensorSpec((1,) * (rank - 1) + (width,))


def _target(config: TargetConfig) -> Iterator[tuple[str, TensorSpec]]:
    text, width = config.text, config.per_layer_width
    yield (
        "per_layer_model_projection.weight",
        TensorSpec((len(text.layers) * width, text.hidden_size)),
    )
    yield "per_layer_projection_norm.weight", _vector(width, rank=4)
    for layer in text.layers:
        prefix = f"layers.{layer.index}."
        for name, spec in _layer(text, layer):
            yield prefix + name, spec
        if layer.owns_kv:
            kv_width = layer.kv_heads * layer.head_dim
            yield prefix + "self_attn.k_proj.weight", TensorSpec((kv_width, text.hidden_size))
            yield prefix + "self_attn.v_proj.weight", TensorSpec((kv_width, text.hidden_size))
            yield prefix + "self_attn.k_norm.weight", _vector(layer.head_dim, rank=4)
        yield prefix + "per_layer_input_gate.weight", TensorSpec((width, text.hidden_size))
        yield prefix + "per_layer_projection.weight", TensorSpec((text.hidden_size, width))
        yield prefix + "post_per_layer_input_norm.weight", _vector(text.hidden_size)
    yield "norm.weight", _vector(text.hidden_size)
    yield "lm_head.weight", TensorSpec((text.vocab_size, text.hidden_size))


def _drafter(config: DrafterConfig, head: HeadKind) -> Iterator[tuple[str, TensorSpec]]:
    text, backbone = config.text, config.backbone_hidden_size
    yield "pre_projection.weight", TensorSpec((text.hidden_size, 2 * backbone))
    for layer in text.layers:
        for name, spec in _layer(text, layer):
            yield f"layers.{layer.index}.{name}", spec
    yield "norm.weight", _vector(text.hidden_size)
    yield "post_projection.weight", TensorSpec((backbone, text.hidden_size))
    yield "lm_head.weight", TensorSpec((text.vocab_size, text.hidden_size))
    if head is HeadKind.CENTROID and config.centroid_head is not None:
        count = config.centroid_head.count
        yield "masked_embedding.centroids.weight", TensorSpec((count, text.hidden_size))
        yield TOKEN_ORDERING, TensorSpec((count, text.vocab_size // count), Dtype.INT32)


def _layer(text: TextConfig, layer: Layer) -> Iterator[tuple[str, TensorSpec]]:
    """What every decoder layer has, whether or not it owns KV."""
    hidden, query_width = text.hidden_size, text.heads * layer.head_dim
    yield "input_layernorm.weight", _vector(hidden)
    yield "self_attn.q_proj.weight", TensorSpec((query_width, hidden))
    yield "self_attn.q_norm.weight", _vector(layer.head_dim, rank=4)
    yield "self_attn.o_proj.weight", TensorSpec((hidden, query_width))
    yield "post_attention_layernorm.weight", _vector(hidden)
    yield "pre_feedforward_layernorm.weight", _vector(hidden)
    yield "mlp.gate_proj.weight", TensorSpec((layer.mlp_width, hidden))
    yield "mlp.up_proj.weight", TensorSpec((layer.mlp_width, hidden))
    yield "mlp.down_proj.weight", TensorSpec((hidden, layer.mlp_width))
    yield "post_feedforward_layernorm.weight", _vector(hidden)
    yield "layer_scalar", _vector(1)
