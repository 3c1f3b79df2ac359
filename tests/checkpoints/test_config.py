"""Parsing configs: derived facts, what transformers fills in, and every problem named at once."""

from __future__ import annotations

import pytest

from exporter.checkpoints.architecture import (
    AttentionKind,
    CentroidHead,
    DrafterConfig,
    Rope,
    TargetConfig,
)
from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.pair import check_pair
from exporter.errors import ConfigError, MismatchError
from tests.checkpoints.written_configs import (
    FULL_ROPE,
    PARTIAL,
    ROPE,
    Json,
    drafter_json,
    e2b_json,
    e4b_json,
)
from tests.pairs import Pair

NAN, INFINITE = float("nan"), float("inf")


def e2b() -> TargetConfig:
    return parse_target(e2b_json(), "e2b")


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


def test_saved_pairs(pair: Pair, shape: str) -> None:
    """Of 8 and of 12 layers, so that transformers pads the keys of one of them."""
    target = open_checkpoint(pair.target).config
    keys = {"e2b": ["3", "7"], "e4b": ["05", "11"]}[shape]
    assert list(target["text_config"]["per_layer_config"]) == keys
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
    del text["hidden_size"], text["intermediate_size"]
    text |= {
        "num_attention_heads": None,
        "num_key_value_heads": "1",
        "rms_norm_eps": NAN,
        "vocab_size": True,
        "sliding_window": 0,
        "hidden_activation": "relu",
        "attention_bias": True,
        "enable_moe_block": 1,
        "attention_k_eq_v": "no",
        "use_double_wide_mlp": None,
        "use_bidirectional_attention": "all",
        "hidden_size_per_layer_input": -1,
        "final_logit_softcapping": INFINITE,
        "max_position_embeddings": None,
        "vocab_size_per_layer_input": 262_144.0,
        "rope_scaling": {"factor": 8.0},
    }
    text["rope_parameters"]["full_attention"]["factor"] = 8.0
    text["rope_parameters"]["sliding_attention"]["rope_theta"] = None
    with pytest.raises(ConfigError) as raised:
        parse_target(config, "here")
    lines = str(raised.value).splitlines()
    assert lines[0] == "here: 20 problems:"
    keys = {line.removeprefix("  - ").split(":")[0].split(" is ")[0] for line in lines[1:]}
    assert len(lines) == 21
    assert keys == {
        "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
        "rms_norm_eps", "vocab_size", "sliding_window", "hidden_activation", "attention_bias",
        "enable_moe_block", "attention_k_eq_v", "use_double_wide_mlp",
        "use_bidirectional_attention", "hidden_size_per_layer_input", "final_logit_softcapping",
        "max_position_embeddings", "vocab_size_per_layer_input", "rope_scaling",
        "rope_parameters.full_attention", "rope_parameters.sliding_attention.rope_theta",
    }  # fmt: skip
    assert "  - hidden_size: expected an integer of at least 1, found nothing" in lines


@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE, True, "1e-6", None, 0, [1]])
@pytest.mark.parametrize("key", ["rms_norm_eps", "final_logit_softcapping", "rope_theta"])
def test_numbers_are_finite(key: str, value: object) -> None:
    """Python reads NaN and Infinity from JSON, and takes true for 1."""
    config = e2b_json()
    text = config["text_config"]
    (text["rope_parameters"]["full_attention"] if key == "rope_theta" else text)[key] = value
    if key == "final_logit_softcapping" and value is None:
        assert parse_target(config, "here").logit_softcap is None
        return
    with pytest.raises(ConfigError, match=f"{key}: expected a positive number, found"):
        parse_target(config, "here")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer_types": ["chunked_attention"] * 35}, "chunked_attention"),
        ({"layer_types": ["full_attention"] * 3}, "each of 35 layers, found 3 entries"),
        ({"layer_types": []}, "each of 35 layers, found 0 entries"),
        ({"num_hidden_layers": None}, "here: num_hidden_layers: expected an integer"),
        ({"num_kv_shared_layers": 35}, "fewer than the 35 layers, found 35"),
        ({"num_kv_shared_layers": 32}, "full_attention share KV, but no earlier"),
        ({"layer_types": ["full_attention"] * 35}, "both kinds, found only full_attention"),
        ({"num_kv_shared_layers": 40}, "fewer than the 35 layers, found 40"),
        ({"num_key_value_heads": 3}, "3 kv heads do not divide 8 heads"),
        ({"rope_parameters": {}}, "rope_parameters.full_attention"),
        ({"rope_parameters": [ROPE]}, "rope_parameters: expected an object"),
        (
            {"rope_parameters": ROPE | {"full_attention": FULL_ROPE | {"rope_type": "yarn"}}},
            "expected rope_type default or proportional",
        ),
        (
            {"rope_parameters": ROPE | {"full_attention": FULL_ROPE | {PARTIAL: None}}},
            "partial_rotary_factor",
        ),
        (
            {"rope_parameters": ROPE | {"full_attention": FULL_ROPE | {PARTIAL: NAN}}},
            "partial_rotary_factor",
        ),
        ({"global_head_dim": 0}, "global_head_dim: expected an integer of at least 1, found 0"),
        ({"use_bidirectional_attention": "some"}, "use_bidirectional_attention: expected null"),
    ],
)
def test_unsupported_stacks_are_refused(change: Json, said: str) -> None:
    config = e2b_json()
    config["text_config"] |= change
    with pytest.raises(ConfigError, match=said):
        parse_target(config, "here")


def test_the_last_layer_is_full() -> None:
    """Transformers makes it so, whatever ``layer_types`` says."""
    config = e2b_json()
    config["text_config"]["layer_types"][-1] = "sliding_attention"
    assert parse_target(config, "here") == e2b()


@pytest.mark.parametrize(
    "change",
    [
        {"num_kv_shared_layers": 3},
        {"hidden_size_per_layer_input": 256},
        {"vocab_size_per_layer_input": 262_144},
        {"use_double_wide_mlp": True},
    ],
)
def test_what_no_drafter_has(change: Json) -> None:
    """Transformers refuses these as well."""
    config = drafter_json(1536, 1)
    config["text_config"] |= change
    with pytest.raises(ConfigError, match=next(iter(change))):
        parse_drafter(config, "here")


@pytest.mark.parametrize("text", [None, [], "text"])
def test_a_config_without_text_part(text: object) -> None:
    """Not a traceback, whatever stands in its place."""
    with pytest.raises(ConfigError, match="text_config"):
        parse_target({"model_type": "gemma4", "text_config": text}, "here")
    with pytest.raises(ConfigError, match="text_config"):
        parse_drafter(drafter_json(1536, 1) | {"text_config": text}, "here")


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
