"""Head dim and number of KV heads of each kind of layer, in all the ways transformers writes them.

Up to 5.14 there is a ``global_head_dim`` for full attention; from 5.15 on, overrides by layer
(``per_layer_config``) whose keys are padded to the longest layer index; and versions before 5.14 that
save what a later one wrote keep both. Layers of a kind are always alike: transformers
computes one rotation for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.architecture import AttentionKind
from exporter.checkpoints.configs.config_reader import ConfigReader

HEAD_DIM, KV_HEADS, GLOBAL_HEAD_DIM = "head_dim", "num_key_value_heads", "global_head_dim"
OVERRIDES = "per_layer_config"

DEFAULT_HEAD_DIM, DEFAULT_FULL_HEAD_DIM, DEFAULT_KV_HEADS = 256, 512, 4
"""Where a config says nothing; of full-attention layers, if it has no overrides either."""


@dataclass(frozen=True)
class HeadShape:
    """Head dim and number of KV heads of one kind of layer."""

    head_dim: int
    kv_heads: int


def head_shapes(
    reader: ConfigReader, kinds: Sequence[AttentionKind]
) -> dict[AttentionKind, HeadShape]:
    """The shapes by kind, for a stack of these ``kinds``.

    ``num_global_key_value_heads`` is not looked at: it counts only where keys are used as values.
    """
    head_dim = reader.integer(HEAD_DIM, default=DEFAULT_HEAD_DIM)
    kv_heads = reader.integer(KV_HEADS, default=DEFAULT_KV_HEADS)
    overrides = None if reader.config.get(OVERRIDES) is None else reader.part(OVERRIDES)
    if overrides is None:
        full = _global_head_dim(reader) or DEFAULT_FULL_HEAD_DIM
        dims = {AttentionKind.SLIDING: head_dim, AttentionKind.FULL: full}
        return {kind: HeadShape(dims[kind], kv_heads) for kind in AttentionKind}
    by_layer = _by_layer(overrides, len(kinds))
    for layer in by_layer.values():
        _refuse_other_keys(layer, reader.config)
    shapes = {
        kind: HeadShape(
            _of_kind(overrides, by_layer, kinds, kind, HEAD_DIM, head_dim),
            _of_kind(overrides, by_layer, kinds, kind, KV_HEADS, kv_heads),
        )
        for kind in AttentionKind
    }
    _check_agreement(reader, shapes[AttentionKind.FULL].head_dim)
    return shapes


def _global_head_dim(reader: ConfigReader) -> int | None:
    """What the older spelling says; None if it is absent or null."""
    said = reader.config.get(GLOBAL_HEAD_DIM)
    return None if said is None else reader.integer(GLOBAL_HEAD_DIM)


def _check_agreement(reader: ConfigReader, full_head_dim: int) -> None:
    said = _global_head_dim(reader)
    if said and full_head_dim and said != full_head_dim:
        reader.problem(
            f"{GLOBAL_HEAD_DIM} is {said}, but with {OVERRIDES} {AttentionKind.FULL.value} layers have "
            f"a {HEAD_DIM} of {full_head_dim}; remove the one that the weights do not have"
        )


def _by_layer(overrides: ConfigReader, layer_count: int) -> dict[int, ConfigReader]:
    """The overrides of each layer; a key names a layer by its index, whatever it is padded to."""
    indices = {str(index): index for index in range(layer_count)}
    keys_of: dict[int, list[str]] = {}
    strangers = []
    for key in map(str, overrides.config):
        index = indices.get(key.lstrip("0") or key[-1:])
        if index is None:
            strangers.append(repr(key))
        else:
            keys_of.setdefault(index, []).append(key)
    if strangers:
        overrides.problem(
            f"{OVERRIDES}: expected layers from 0 to {layer_count - 1}, found {', '.join(strangers)}"
        )
    for index, keys in keys_of.items():
        if len(keys) > 1:
            names = " and ".join(map(repr, keys))
            overrides.problem(f"{OVERRIDES}: expected one entry for layer {index}, found {names}")
    parts = {index: overrides.part(keys[0]) for index, keys in keys_of.items()}
    return {index: part for index, part in parts.items() if part is not None}


def _refuse_other_keys(layer: ConfigReader, of_all: Mapping[str, Any]) -> None:
    """A layer may differ in its heads only. Repeating what all layers have is harmless."""
    for key, value in layer.config.items():
        harmless = key in (HEAD_DIM, KV_HEADS) or (key == "skip" and value == [])
        if not harmless and (key not in of_all or value != of_all[key]):
            usual = repr(of_all[key]) if key in of_all else "nothing"
            layer.refuse(key, f"what all layers have ({usual})")


def _of_kind(
    overrides: ConfigReader,
    by_layer: Mapping[int, ConfigReader],
    kinds: Sequence[AttentionKind],
    kind: AttentionKind,
    key: str,
    of_all: int,
) -> int:
    """The value that all layers of a kind have."""
    layers_of: dict[int, list[str]] = {}
    for index in (index for index, found in enumerate(kinds) if found is kind):
        layer = by_layer.get(index)
        value = of_all if layer is None else layer.integer(key, default=of_all)
        layers_of.setdefault(value, []).append(str(index))
    layers_of.pop(0, None)  # refused already
    if len(layers_of) > 1:
        found = "; ".join(f"{value} in {', '.join(at)}" for value, at in layers_of.items())
        overrides.problem(
            f"{OVERRIDES}: expected one {key} for all {kind.value} layers, found {found}"
        )
    return next(iter(layers_of), 0)
