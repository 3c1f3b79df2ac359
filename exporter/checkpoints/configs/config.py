"""What a checkpoint's ``config.json`` says, as frozen values.

Parses Gemma 4 target and assistant (drafter) configurations as transformers 5.5 to 5.24 write them, and
nothing else: a value this exporter cannot honour is an error, and all of them are reported at
once. Knows neither tensors nor files' contents beyond the JSON.

Source of the architecture: transformers ``models/gemma4`` and ``models/gemma4_assistant``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.architecture import CentroidHead, DrafterConfig, TargetConfig
from exporter.checkpoints.configs.config_reader import MOST_LAYERS, ConfigReader
from exporter.checkpoints.configs.families import (
    TEXT_TYPE,
    require_drafter,
    require_per_layer_embeddings,
    require_small_text,
    require_target,
)
from exporter.checkpoints.configs.layer_stack import parse_stack
from exporter.errors import ConfigError


def parse_target(config: Mapping[str, Any], where: str) -> TargetConfig:
    """Parse the ``config.json`` of a target.

    Args:
        config: The parsed JSON, of a ``gemma4`` (multimodal) or ``gemma4_text`` model.
        where: Path or id shown in error messages.

    Raises:
        ConfigError: Naming the model, if it is another one, or listing every value that is missing or
            unsupported.
    """
    require_target(config, where)
    text_only = config["model_type"] == TEXT_TYPE
    reader = ConfigReader(config if text_only else _text_part(config, where), where)
    require_small_text(reader.config, where)
    require_per_layer_embeddings(reader.config, where)
    for key in ("enable_moe_block", "attention_k_eq_v"):  # true ones were refused by name
        reader.flag(key)
    layer_count = reader.integer("num_hidden_layers", most=MOST_LAYERS)
    shared = reader.integer("num_kv_shared_layers", default=0, minimum=0)
    if shared >= layer_count > 0:
        reader.problem(
            f"num_kv_shared_layers: expected fewer than the {layer_count} layers, found {shared}"
        )
        shared = 0
    softcap = reader.config.get("final_logit_softcapping")
    target = TargetConfig(
        text=parse_stack(reader, layer_count, layer_count - shared),
        per_layer_width=reader.integer("hidden_size_per_layer_input", default=256),
        per_layer_vocab_size=reader.integer("vocab_size_per_layer_input", default=262_144),
        logit_softcap=None if softcap is None else reader.number("final_logit_softcapping"),
        max_position=reader.integer("max_position_embeddings", default=131_072),
    )
    reader.finish()
    return target


def parse_drafter(config: Mapping[str, Any], where: str) -> DrafterConfig:
    """Parse the ``config.json`` of an assistant checkpoint.

    Layers are numbered within the drafter; their ``kv_owner`` is the layer itself, because
    the caches they read are the target's.

    Args:
        config: The parsed JSON, of a ``gemma4_assistant`` model.
        where: Path or id shown in error messages.

    Raises:
        ConfigError: Naming the model, if it is another one, or listing every value that is missing or
            unsupported.
    """
    require_drafter(config, where)
    outer = ConfigReader(config, where)
    reader = ConfigReader(_text_part(config, where), where, outer.problems)
    require_small_text(reader.config, where)
    for key in ("enable_moe_block", "attention_k_eq_v"):  # true ones were refused by name
        reader.flag(key)
    reader.forbid("use_double_wide_mlp", "no drafter of E2B or E4B has this")
    layer_count = reader.integer("num_hidden_layers", most=MOST_LAYERS)
    shared = reader.integer("num_kv_shared_layers", default=0, minimum=0)
    if layer_count and shared not in (0, layer_count):
        reader.problem(
            f"num_kv_shared_layers: expected all {layer_count} layers of a drafter, found {shared}"
        )
    for key in ("hidden_size_per_layer_input", "vocab_size_per_layer_input"):
        if reader.config.get(key, 0) != 0:
            reader.refuse(key, "0, because drafters have no per-layer embeddings")
    text = parse_stack(reader, layer_count, layer_count)
    drafter = DrafterConfig(
        text=text,
        backbone_hidden_size=outer.integer("backbone_hidden_size", default=1536),
        centroid_head=_centroid_head(outer, text.vocab_size),
    )
    reader.finish()
    return drafter


def _centroid_head(reader: ConfigReader, vocab_size: int) -> CentroidHead | None:
    if not reader.flag("use_ordered_embeddings"):
        return None
    count = reader.integer("num_centroids", default=2048)
    top_k = reader.integer("centroid_intermediate_top_k", default=32)
    if count and vocab_size % count:
        reader.problem(f"num_centroids {count} does not divide vocab_size {vocab_size}")
    if top_k > count > 0:
        reader.problem(
            f"centroid_intermediate_top_k: expected at most num_centroids {count}, found {top_k}"
        )
    return CentroidHead(count, top_k)


def _text_part(config: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    text = config.get("text_config")
    if not isinstance(text, Mapping):
        raise ConfigError(f"{where}: text_config: expected an object, found {text!r}")
    return text
