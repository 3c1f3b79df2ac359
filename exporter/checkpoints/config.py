"""What a checkpoint's ``config.json`` says, as frozen values.

Parses Gemma 4 target and assistant (drafter) configurations and nothing else: a key that matters and
is missing or has a value this exporter cannot honour is an error, and all of them are reported at
once. Derived facts (which layer owns which KV cache, MLP widths, head dims) are computed here once.
Knows neither tensors nor files' contents beyond the JSON.

Source of the architecture: transformers ``models/gemma4`` and ``models/gemma4_assistant``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.errors import ConfigError, MismatchError, listed

DEFAULT_FULL_HEAD_DIM = 512
"""Head dim of full-attention layers where a config says nothing (transformers' default)."""


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


def parse_target(config: Mapping[str, Any], where: str) -> TargetConfig:
    """Parse the ``config.json`` of a target.

    Args:
        config: The parsed JSON, of a ``gemma4`` (multimodal) or ``gemma4_text`` model.
        where: Path or id shown in error messages.

    Raises:
        ConfigError: Listing every key that is missing, unknown or unsupported.
    """
    model_type = config.get("model_type")
    if model_type not in ("gemma4", "gemma4_text"):
        raise ConfigError(
            f"{where}: expected a Gemma 4 target (model_type gemma4 or gemma4_text), found "
            f"{model_type!r}; give the target first and its -assistant checkpoint second"
        )
    reader = _Reader(config if model_type == "gemma4_text" else _text_part(config, where), where)
    layer_count = reader.integer("num_hidden_layers")
    shared = reader.integer("num_kv_shared_layers", minimum=0)
    if shared >= layer_count:
        reader.problem(
            f"num_kv_shared_layers: expected fewer than the {layer_count} layers, found {shared}"
        )
        shared = 0
    text = _parse_text(reader, layer_count, layer_count - shared)
    per_layer_width = reader.integer("hidden_size_per_layer_input", minimum=0)
    if per_layer_width == 0:
        reader.problem(
            "hidden_size_per_layer_input is 0: only models with per-layer embeddings (Gemma 4 E2B, "
            "E4B and their fine-tunes) can be exported"
        )
    reader.reject("enable_moe_block", True, "mixture-of-experts layers are not exported")
    reader.reject("attention_k_eq_v", True, "layers that reuse keys as values are not exported")
    softcap = reader.number("final_logit_softcapping", optional=True)
    target = TargetConfig(
        text=text,
        per_layer_width=per_layer_width,
        per_layer_vocab_size=reader.integer("vocab_size_per_layer_input"),
        logit_softcap=softcap,
        max_position=reader.integer("max_position_embeddings"),
    )
    reader.finish()
    return target


def parse_drafter(config: Mapping[str, Any], where: str) -> DrafterConfig:
    """Parse the ``config.json`` of an assistant checkpoint.

    Layers are numbered within the drafter; their ``kv_owner`` is meaningless until
    :func:`check_pair` has tied them to a target, so it points at the layer itself.

    Raises:
        ConfigError: Listing every key that is missing, unknown or unsupported.
    """
    model_type = config.get("model_type")
    if model_type != "gemma4_assistant":
        raise ConfigError(
            f"{where}: expected a Gemma 4 drafter (model_type gemma4_assistant), found "
            f"{model_type!r}; drafters are the checkpoints whose name ends in -assistant"
        )
    outer = _Reader(config, where)
    backbone = outer.integer("backbone_hidden_size")
    head = None
    if config.get("use_ordered_embeddings", False):
        head = CentroidHead(
            outer.integer("num_centroids"), outer.integer("centroid_intermediate_top_k")
        )
    reader = _Reader(_text_part(config, where), where, outer.problems)
    layer_count = reader.integer("num_hidden_layers")
    text = _parse_text(reader, layer_count, layer_count)
    if head is not None and text.vocab_size % max(head.count, 1):
        reader.problem(f"num_centroids {head.count} does not divide vocab_size {text.vocab_size}")
    if head is not None and head.top_k > head.count:
        reader.problem(
            f"centroid_intermediate_top_k: expected at most num_centroids {head.count}, "
            f"found {head.top_k}"
        )
    reader.finish()
    return DrafterConfig(text=text, backbone_hidden_size=backbone, centroid_head=head)


def check_pair(target: TargetConfig, drafter: DrafterConfig) -> None:
    """Check that a drafter was made for a target of this shape, to which a fine-tune may have added tokens.

    Raises:
        MismatchError: Listing every dimension that differs.
    """
    problems = []

    def same(what: str, of_drafter: object, of_target: object) -> None:
        if of_drafter != of_target:
            problems.append(f"{what}: the drafter has {of_drafter}, the target has {of_target}")

    same("hidden size of the target", drafter.backbone_hidden_size, target.text.hidden_size)
    if drafter.text.vocab_size > target.text.vocab_size:
        same("vocabulary size", drafter.text.vocab_size, target.text.vocab_size)
    same("sliding window", drafter.text.sliding_window, target.text.sliding_window)
    for kind in AttentionKind:
        reader = next((layer for layer in drafter.text.layers if layer.kind is kind), None)
        if reader is None:
            continue
        donor = target.kv_donor(kind)
        same(f"head dim of {kind.value} layers", reader.head_dim, donor.head_dim)
        same(f"kv heads of {kind.value} layers", reader.kv_heads, donor.kv_heads)
        same(f"rope of {kind.value} layers", drafter.text.rope[kind], target.text.rope[kind])
    if problems:
        raise MismatchError(
            "this drafter does not belong to this target (each size of Gemma 4 has its own "
            f"-assistant checkpoint): {listed(problems)}"
        )


class _Reader:
    """Reads typed keys out of one JSON object and collects everything that is wrong with it."""

    def __init__(
        self, config: Mapping[str, Any], where: str, problems: list[str] | None = None
    ) -> None:
        self.config = config
        self.where = where
        self.problems: list[str] = [] if problems is None else problems

    def problem(self, text: str) -> None:
        """Note a problem; a key that every layer reads is still one problem."""
        if text not in self.problems:
            self.problems.append(text)

    def integer(self, key: str, minimum: int = 1) -> int:
        value = self.config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            self.problem(f"{key}: expected an integer of at least {minimum}, found {value!r}")
            return minimum
        return value

    def number(self, key: str, optional: bool = False) -> float | None:
        value = self.config.get(key)
        if value is None and optional:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            self.problem(f"{key}: expected a positive number, found {value!r}")
            return None
        return float(value)

    def reject(self, key: str, value: object, why: str) -> None:
        if self.config.get(key) == value:
            self.problem(f"{key} is {value!r}: {why}")

    def finish(self) -> None:
        if self.problems:
            raise ConfigError(f"{self.where}: {listed(self.problems)}")


def _text_part(config: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    text = config.get("text_config")
    if not isinstance(text, Mapping):
        raise ConfigError(f"{where}: text_config: expected an object, found {text!r}")
    return text


def _parse_text(reader: _Reader, layer_count: int, owner_count: int) -> TextConfig:
    reader.reject("attention_bias", True, "attention biases are not exported")
    reader.reject("use_bidirectional_attention", "all", "only causal text models are exported")
    if (activation := reader.config.get("hidden_activation")) != "gelu_pytorch_tanh":
        reader.problem(f"hidden_activation: expected gelu_pytorch_tanh, found {activation!r}")
    kinds = _layer_kinds(reader, layer_count)
    return TextConfig(
        hidden_size=reader.integer("hidden_size"),
        heads=reader.integer("num_attention_heads"),
        vocab_size=reader.integer("vocab_size"),
        sliding_window=reader.integer("sliding_window"),
        rms_norm_eps=reader.number("rms_norm_eps") or 0.0,
        rope={kind: _rope(reader, kind) for kind in AttentionKind},
        layers=_layers(reader, kinds, owner_count),
    )


def _layer_kinds(reader: _Reader, layer_count: int) -> list[AttentionKind]:
    names = reader.config.get("layer_types")
    if not isinstance(names, list) or len(names) != layer_count:
        found = f"{len(names)} entries" if isinstance(names, list) else repr(names)
        reader.problem(
            f"layer_types: expected one entry for each of {layer_count} layers, found {found}"
        )
        return []
    known = {kind.value for kind in AttentionKind}
    if unknown := sorted({str(name) for name in names} - known):
        reader.problem(
            f"layer_types: expected {' or '.join(sorted(known))}, found {', '.join(unknown)}"
        )
        return []
    return [AttentionKind(name) for name in names]


def _layers(reader: _Reader, kinds: list[AttentionKind], owner_count: int) -> tuple[Layer, ...]:
    """Lay out the stack: KV-sharing layers read the last owner of their own kind."""
    if kinds and set(kinds) != set(AttentionKind):
        reader.problem(f"layer_types: expected layers of both kinds, found only {kinds[0].value}")
        return ()
    owners = {kind: max((i for i, k in enumerate(kinds[:owner_count]) if k is kind), default=None)
              for kind in AttentionKind}  # fmt: skip
    shared = kinds[owner_count:]
    if missing := [kind.value for kind in AttentionKind if kind in shared and owners[kind] is None]:
        reader.problem(
            f"num_kv_shared_layers: layers of type {', '.join(missing)} share KV, but no earlier "
            "layer of that type owns any"
        )
        return ()
    width = reader.integer("intermediate_size")
    double = bool(reader.config.get("use_double_wide_mlp", False))
    layers = []
    for index, kind in enumerate(kinds):
        owns = index < owner_count
        owner = index if owns else owners[kind]
        assert owner is not None
        mlp_width = width if owns or not double else 2 * width
        layers.append(
            Layer(
                index,
                kind,
                owner,
                _head_dim(reader, index, kind),
                _kv_heads(reader, index),
                mlp_width,
            )
        )
    heads = reader.integer("num_attention_heads")
    for layer in layers:
        if heads % layer.kv_heads:
            reader.problem(
                f"layer {layer.index}: {layer.kv_heads} kv heads do not divide {heads} heads"
            )
    return tuple(layers)


def _head_dim(reader: _Reader, index: int, kind: AttentionKind) -> int:
    """Head dim of one layer, from either of the two spellings transformers has written."""
    if (override := _override(reader, index, "head_dim")) is not None:
        return override
    if kind is AttentionKind.FULL and "per_layer_config" not in reader.config:
        if reader.config.get("global_head_dim") is None:
            return DEFAULT_FULL_HEAD_DIM
        return reader.integer("global_head_dim")
    return reader.integer("head_dim")


def _kv_heads(reader: _Reader, index: int) -> int:
    override = _override(reader, index, "num_key_value_heads")
    return reader.integer("num_key_value_heads") if override is None else override


def _override(reader: _Reader, index: int, key: str) -> int | None:
    value = _per_layer(reader, index).get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    reader.problem(f"per_layer_config.{index}.{key}: expected a positive integer, found {value!r}")
    return 1


def _per_layer(reader: _Reader, index: int) -> Mapping[str, Any]:
    overrides = reader.config.get("per_layer_config") or {}
    if not isinstance(overrides, Mapping):
        reader.problem(
            f"per_layer_config: expected an object of layer indices, found {overrides!r}"
        )
        return {}
    found = overrides.get(str(index), overrides.get(index, {}))
    return found if isinstance(found, Mapping) else {}


def _rope(reader: _Reader, kind: AttentionKind) -> Rope:
    of_kinds = reader.config.get("rope_parameters")
    parameters = of_kinds.get(kind.value) if isinstance(of_kinds, Mapping) else None
    if not isinstance(parameters, Mapping):
        reader.problem(f"rope_parameters.{kind.value}: expected an object, found {parameters!r}")
        return Rope(1.0, 1.0)
    rope_type = parameters.get("rope_type")
    theta = parameters.get("rope_theta")
    if not isinstance(theta, int | float) or theta <= 0:
        reader.problem(
            f"rope_parameters.{kind.value}.rope_theta: expected a positive number, found {theta!r}"
        )
        theta = 1.0
    if rope_type == "default":
        return Rope(float(theta), 1.0)
    if rope_type == "proportional" and parameters.get("factor", 1.0) == 1.0:
        fraction = parameters.get("partial_rotary_factor", 1.0)
        if isinstance(fraction, int | float) and 0 < fraction <= 1:
            return Rope(float(theta), float(fraction))
        reader.problem(
            f"rope_parameters.{kind.value}.partial_rotary_factor: expected a number above 0 and up "
            f"to 1, found {fraction!r}"
        )
        return Rope(float(theta), 1.0)
    reader.problem(
        f"rope_parameters.{kind.value}: expected rope_type default or proportional without a scaling "
        f"factor, found {dict(parameters)!r}"
    )
    return Rope(float(theta), 1.0)
