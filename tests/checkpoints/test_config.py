"""Parsing configs: both spellings, derived facts, and every problem named at once."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.config import (
    AttentionKind,
    CentroidHead,
    DrafterConfig,
    Rope,
    TargetConfig,
    check_pair,
    parse_drafter,
    parse_target,
)
from exporter.errors import ConfigError, MismatchError
from tests.pairs import Pair

Json = dict[str, Any]

PARTIAL = "partial_rotary_factor"
FULL_ROPE: Json = {"rope_type": "proportional", PARTIAL: 0.25, "rope_theta": 1_000_000.0}
ROPE: Json = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": FULL_ROPE,
}


def stack(hidden: int, layers: int, full_every: int, heads: int, kv_heads: int) -> Json:
    kinds = ["sliding_attention"] * (full_every - 1) + ["full_attention"]
    return {
        "model_type": "gemma4_text",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "layer_types": kinds * (layers // full_every),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 256,
        "global_head_dim": 512,
        "vocab_size": 262_144,
        "sliding_window": 512,
        "rms_norm_eps": 1e-6,
        "rope_parameters": deepcopy(ROPE),
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131_072,
    }


def target_json(text: Json, **more: object) -> Json:
    ple = {"hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262_144}
    text = {**text, **ple, "final_logit_softcapping": 30.0, **more}
    return {"model_type": "gemma4", "text_config": text, "vision_config": {}}


def e2b_json() -> Json:
    """Gemma 4 E2B's published dimensions."""
    mlp = {"intermediate_size": 6144, "use_double_wide_mlp": True}
    return target_json(stack(1536, 35, 5, 8, 1), num_kv_shared_layers=20, **mlp)


def e4b_json() -> Json:
    """Gemma 4 E4B's published dimensions."""
    mlp = {"intermediate_size": 10_240, "use_double_wide_mlp": False}
    return target_json(stack(2560, 42, 6, 8, 2), num_kv_shared_layers=18, **mlp)


def drafter_json(backbone: int, kv_heads: int) -> Json:
    """The assistant of either."""
    text = {**stack(256, 4, 4, 4, kv_heads), "intermediate_size": 2048, "num_kv_shared_layers": 4}
    return {
        "model_type": "gemma4_assistant",
        "text_config": text,
        "backbone_hidden_size": backbone,
        "use_ordered_embeddings": True,
        "num_centroids": 2048,
        "centroid_intermediate_top_k": 32,
    }


def e2b() -> TargetConfig:
    return parse_target(e2b_json(), "e2b")


def per_layer_spelling(config: Json, width: int) -> Json:
    """The same config as transformers writes it since per_layer_config exists."""
    text = config["text_config"]
    del text["global_head_dim"]
    full = [i for i, kind in enumerate(text["layer_types"]) if kind == "full_attention"]
    text["per_layer_config"] = {str(index): {"head_dim": width} for index in full}
    return config


@pytest.mark.parametrize(
    ("config", "donors", "owners", "widths"),
    [
        (e2b_json(), {"sliding": 13, "full": 14}, 15, {6144, 12_288}),
        (e4b_json(), {"sliding": 22, "full": 23}, 24, {10_240}),
    ],
    ids=["E2B", "E4B"],
)
def test_kv_owner_table(
    config: Json, donors: dict[str, int], owners: int, widths: set[int]
) -> None:
    """Worked examples: layer 34 of E2B is full, so it reads layer 14; its neighbour 33 reads 13."""
    target = parse_target(config, "target")
    assert [layer.index for layer in target.kv_owners] == list(range(owners))
    for layer in target.text.layers:
        donor = donors["full" if layer.kind is AttentionKind.FULL else "sliding"]
        assert layer.kv_owner == (layer.index if layer.index < owners else donor)
        assert layer.head_dim == (512 if layer.kind is AttentionKind.FULL else 256)
        assert layer.mlp_width == (min(widths) if layer.owns_kv else max(widths))
    assert target.kv_donor(AttentionKind.SLIDING).index == donors["sliding"]
    assert target.kv_donor(AttentionKind.FULL).index == donors["full"]
    assert target.text.rope[AttentionKind.FULL] == Rope(1e6, 0.25)
    assert target.text.rope[AttentionKind.SLIDING] == Rope(1e4, 1.0)


def test_full_layers_lie_where_published() -> None:
    full = [layer.index for layer in e2b().text.layers if layer.kind is AttentionKind.FULL]
    assert full == list(range(4, 35, 5))


def test_spellings_agree() -> None:
    """``global_head_dim``, ``per_layer_config``, or neither where the default of 512 is meant."""
    silent = e2b_json()
    del silent["text_config"]["global_head_dim"]
    assert parse_target(per_layer_spelling(e2b_json(), 512), "new") == e2b()
    assert parse_target(silent, "silent") == e2b()
    assert parse_target(e2b_json()["text_config"], "text only") == e2b()


def test_both_spellings_from_transformers(pair: Pair, shape: str) -> None:
    """What transformers 5.22 writes (e2b), and what earlier versions wrote (e4b)."""
    target = open_checkpoint(pair.target).config
    spelling = {"e2b": "per_layer_config", "e4b": "global_head_dim"}[shape]
    assert spelling in target["text_config"]
    config = parse_target(target, "target")
    for layer in config.text.layers:
        assert layer.head_dim == (64 if layer.kind is AttentionKind.FULL else 32)
    drafter = parse_drafter(open_checkpoint(pair.drafter).config, "drafter")
    check_pair(config, drafter)
    assert drafter.centroid_head == CentroidHead(count=64, top_k=8)


def test_drafter() -> None:
    drafter = parse_drafter(drafter_json(1536, 1), "drafter")
    assert drafter.backbone_hidden_size == 1536
    assert drafter.centroid_head == CentroidHead(2048, 32)
    assert [layer.head_dim for layer in drafter.text.layers] == [256, 256, 256, 512]
    check_pair(e2b(), drafter)
    check_pair(parse_target(e4b_json(), "e4b"), parse_drafter(drafter_json(2560, 2), "drafter"))


def test_drafter_without_centroids() -> None:
    config = drafter_json(1536, 1) | {"use_ordered_embeddings": False, "num_centroids": None}
    assert parse_drafter(config, "drafter").centroid_head is None


def test_every_problem_is_listed_once() -> None:
    """One run of the tool names all that is wrong, each thing one time."""
    config = e2b_json()
    text = config["text_config"]
    del text["num_attention_heads"], text["num_key_value_heads"], text["rms_norm_eps"]
    text |= {
        "hidden_size": "1536",
        "vocab_size": True,
        "sliding_window": 0,
        "hidden_activation": "relu",
        "attention_bias": True,
        "enable_moe_block": True,
        "attention_k_eq_v": True,
        "use_bidirectional_attention": "all",
        "hidden_size_per_layer_input": 0,
        "final_logit_softcapping": -1,
        "max_position_embeddings": None,
        "vocab_size_per_layer_input": None,
    }
    text["rope_parameters"]["full_attention"]["factor"] = 8.0
    text["rope_parameters"]["sliding_attention"]["rope_theta"] = None
    with pytest.raises(ConfigError) as raised:
        parse_target(config, "here")
    lines = str(raised.value).splitlines()
    assert lines[0] == "here: 17 problems:"
    keys = {line.removeprefix("  - ").split(":")[0].split(" is ")[0] for line in lines[1:]}
    assert len(lines) == 18
    assert keys == {
        "num_attention_heads", "num_key_value_heads", "rms_norm_eps", "hidden_size", "vocab_size",
        "sliding_window", "hidden_activation", "attention_bias", "enable_moe_block",
        "attention_k_eq_v", "use_bidirectional_attention", "hidden_size_per_layer_input",
        "final_logit_softcapping", "max_position_embeddings", "vocab_size_per_layer_input",
        "rope_parameters.full_attention", "rope_parameters.sliding_attention.rope_theta",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer_types": ["chunked_attention"] * 35}, "chunked_attention"),
        ({"layer_types": ["full_attention"] * 3}, "each of 35 layers, found 3 entries"),
        ({"layer_types": None}, "found None"),
        ({"num_kv_shared_layers": 35}, "fewer than the 35 layers, found 35"),
        ({"num_kv_shared_layers": 32}, "full_attention share KV, but no earlier"),
        ({"layer_types": ["full_attention"] * 35}, "both kinds, found only full_attention"),
        ({"num_kv_shared_layers": 40}, "fewer than the 35 layers, found 40"),
        ({"num_key_value_heads": 3}, "3 kv heads do not divide 8 heads"),
        ({"rope_parameters": {}}, "rope_parameters.full_attention"),
        ({"rope_parameters": [ROPE]}, "rope_parameters.full_attention"),
        (
            {"rope_parameters": ROPE | {"full_attention": FULL_ROPE | {"rope_type": "yarn"}}},
            "expected rope_type default or proportional",
        ),
        (
            {"rope_parameters": ROPE | {"full_attention": FULL_ROPE | {PARTIAL: None}}},
            "partial_rotary_factor",
        ),
        ({"per_layer_config": [512]}, "per_layer_config: expected an object"),
        ({"per_layer_config": {"4": {"head_dim": -1}}}, "head_dim"),
    ],
)
def test_unsupported_stacks_are_refused(change: Json, said: str) -> None:
    config = e2b_json()
    config["text_config"] |= change
    with pytest.raises(ConfigError, match=said):
        parse_target(config, "here")


@pytest.mark.parametrize("text", [None, [], "text"])
def test_a_config_without_text_part(text: object) -> None:
    """Not a traceback, whatever stands in its place."""
    with pytest.raises(ConfigError, match="text_config"):
        parse_target({"model_type": "gemma4", "text_config": text}, "here")
    with pytest.raises(ConfigError, match="text_config"):
        parse_drafter(drafter_json(1536, 1) | {"text_config": text}, "here")


def test_swapped_checkpoints() -> None:
    """The likeliest slip: each message says which is which."""
    with pytest.raises(ConfigError, match="target first and its -assistant checkpoint second"):
        parse_target(drafter_json(1536, 1), "here")
    with pytest.raises(ConfigError, match="name ends in -assistant"):
        parse_drafter(e2b_json(), "here")


def test_centroids_must_divide_the_vocabulary() -> None:
    with pytest.raises(ConfigError, match="num_centroids 2047 does not divide"):
        parse_drafter(drafter_json(1536, 1) | {"num_centroids": 2047}, "here")


def test_more_clusters_than_centroids() -> None:
    """torch.topk would only fail while tracing."""
    with pytest.raises(ConfigError, match="centroid_intermediate_top_k"):
        parse_drafter(drafter_json(1536, 1) | {"centroid_intermediate_top_k": 4096}, "here")


def test_a_wrong_pair_names_every_difference() -> None:
    drafter_config = drafter_json(2560, 2)
    drafter_config["text_config"] |= {
        "vocab_size": 2048 * 256,
        "sliding_window": 1024,
        "head_dim": 128,
        "global_head_dim": 256,
    }
    drafter_config["text_config"]["rope_parameters"]["full_attention"]["rope_theta"] = 5e5
    drafter: DrafterConfig = parse_drafter(drafter_config, "drafter")
    with pytest.raises(MismatchError) as raised:
        check_pair(e2b(), drafter)
    message = str(raised.value)
    for line in (
        "8 problems",
        "hidden size of the target: the drafter has 2560, the target has 1536",
        "vocabulary size: the drafter has 524288, the target has 262144",
        "sliding window: the drafter has 1024, the target has 512",
        "head dim of sliding_attention layers: the drafter has 128, the target has 256",
        "head dim of full_attention layers: the drafter has 256, the target has 512",
        "kv heads of sliding_attention layers: the drafter has 2, the target has 1",
        "kv heads of full_attention layers: the drafter has 2, the target has 1",
        "rope of full_attention layers",
    ):
        assert line in message


def test_problem_order_is_stable() -> None:
    """Messages are compared and searched; a set's order would change from run to run."""
    with pytest.raises(MismatchError) as raised:
        check_pair(e2b(), parse_drafter(drafter_json(1536, 2), "drafter"))
    lines = str(raised.value).splitlines()[1:]
    assert [line.split(":")[0].strip(" -") for line in lines] == [
        "kv heads of sliding_attention layers",
        "kv heads of full_attention layers",
    ]
