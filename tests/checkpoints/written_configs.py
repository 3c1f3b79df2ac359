"""The configs of E2B, E4B and their drafters, and the forms in which versions of transformers save them.

``PUBLISHED`` has what the published checkpoints say. Each form was compared, key by key, with what the
versions named beside it wrote for both sizes, as multimodal target, text-only target and drafter; 5.5.0,
5.8.1, 5.10.4, 5.12.1, 5.14.1, 5.15.0, 5.16.1, 5.18.0, 5.20.2, 5.22.2, 5.23.0 and 5.24.0 were run.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

Json = dict[str, Any]

PARTIAL = "partial_rotary_factor"
FULL_ROPE: Json = {"rope_type": "proportional", PARTIAL: 0.25, "rope_theta": 1_000_000.0}
ROPE: Json = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": FULL_ROPE,
}
FULL_HEAD_DIM = 512


def stack(hidden: int, layers: int, full_every: int, heads: int, kv_heads: int) -> Json:
    """A ``text_config``, as far as target and drafter have the same keys."""
    kinds = ["sliding_attention"] * (full_every - 1) + ["full_attention"]
    return {
        "model_type": "gemma4_text",
        "attention_bias": False,
        "attention_k_eq_v": False,
        "enable_moe_block": False,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "layer_types": kinds * (layers // full_every),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_global_key_value_heads": None,
        "head_dim": 256,
        "global_head_dim": FULL_HEAD_DIM,
        "vocab_size": 262_144,
        "sliding_window": 512,
        "rms_norm_eps": 1e-6,
        "rope_parameters": deepcopy(ROPE),
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131_072,
        "use_bidirectional_attention": None,
    }


def target_json(text: Json, **more: object) -> Json:
    """A multimodal target."""
    ple = {"hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262_144}
    text = {**text, **ple, "final_logit_softcapping": 30.0, **more}
    return {"model_type": "gemma4", "text_config": text, "vision_config": {}, "audio_config": {}}


def e2b_json() -> Json:
    """Gemma 4 E2B."""
    mlp = {"intermediate_size": 6144, "use_double_wide_mlp": True}
    return target_json(stack(1536, 35, 5, 8, 1), num_kv_shared_layers=20, **mlp)


def e4b_json() -> Json:
    """Gemma 4 E4B."""
    mlp = {"intermediate_size": 10_240, "use_double_wide_mlp": False}
    return target_json(stack(2560, 42, 6, 8, 2), num_kv_shared_layers=18, **mlp)


def drafter_json(backbone: int, kv_heads: int) -> Json:
    """The drafter of either."""
    text = {
        **stack(256, 4, 4, 4, kv_heads),
        "intermediate_size": 2048,
        "use_double_wide_mlp": False,
        "num_kv_shared_layers": 4,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 0,
        "final_logit_softcapping": None,
    }
    return {
        "model_type": "gemma4_assistant",
        "text_config": text,
        "backbone_hidden_size": backbone,
        "use_ordered_embeddings": True,
        "num_centroids": 2048,
        "centroid_intermediate_top_k": 32,
    }


PUBLISHED: dict[str, tuple[Json, Json]] = {
    "e2b": (e2b_json(), drafter_json(1536, 1)),
    "e4b": (e4b_json(), drafter_json(2560, 2)),
}
"""Target and drafter, by size."""


def overrides(text: Json, *, padded: bool = True) -> Json:
    """``per_layer_config``, whose keys transformers pads to the longest of them."""
    full = [i for i, kind in enumerate(text["layer_types"]) if kind == "full_attention"]
    width = len(str(full[-1])) if padded else 0
    return {str(index).zfill(width): {"head_dim": FULL_HEAD_DIM} for index in full}


def without(text: Json, *keys: str) -> Json:
    return {key: value for key, value in text.items() if key not in keys}


def older(text: Json) -> Json:
    """5.5.0 to 5.14.1, and the published files."""
    return dict(text)


def newer(text: Json) -> Json:
    """5.15.0 to 5.24.0."""
    kept = without(text, "global_head_dim", "num_global_key_value_heads")
    return {**kept, "per_layer_config": overrides(text)}


def older_of_newer(text: Json) -> Json:
    """5.5.0, when it saves what 5.22.2 has saved: it keeps a key it does not know."""
    return {**text, "per_layer_config": overrides(text)}


def explicit(text: Json) -> Json:
    """5.15.0 to 5.24.0 with ``serialize_explicit_per_layer_config``: every layer is listed."""
    width = len(str(text["num_hidden_layers"] - 1))
    full = overrides(text, padded=False)
    sliding = {"head_dim": text["head_dim"]}
    every = {
        str(index).zfill(width): full.get(str(index), sliding)
        for index in range(text["num_hidden_layers"])
    }
    return {**newer(text), "per_layer_config": every}


def unpadded(text: Json) -> Json:
    """By hand, and with any padding: transformers reads the keys as integers."""
    return {**newer(text), "per_layer_config": overrides(text, padded=False)}


def silent(text: Json) -> Json:
    """By hand: every key is left out, or null, for which transformers has the right value."""
    left_out = "global_head_dim", "head_dim", "hidden_activation", "max_position_embeddings"
    more = "sliding_window", "rms_norm_eps", "attention_bias", "attention_k_eq_v"
    kept = without(text, *left_out, *more, "enable_moe_block", "use_bidirectional_attention")
    return {**kept, "rope_parameters": None, "per_layer_config": None}


FORMS: dict[str, Callable[[Json], Json]] = {
    form.__name__: form for form in (older, newer, older_of_newer, explicit, unpadded, silent)
}


def in_form(config: Json, form: Callable[[Json], Json]) -> Json:
    """A whole config whose text part has this form."""
    config = deepcopy(config)
    return {**config, "text_config": form(config["text_config"])}
