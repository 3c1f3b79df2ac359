"""All the forms in which E2B, E4B and their drafters are saved say the same; damaged ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from transformers import Gemma4AssistantConfig, Gemma4Config, Gemma4TextConfig

from exporter.checkpoints.architecture import DrafterConfig, TargetConfig
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.checkpoints.pair import check_pair
from exporter.errors import ConfigError
from tests.checkpoints.written_configs import (
    FORMS,
    PUBLISHED,
    Json,
    e2b_json,
    e4b_json,
    explicit,
    in_form,
    newer,
    overrides,
    without,
)

SIZES = sorted(PUBLISHED)
FIRST_FULL = {"e2b": "04", "e4b": "05"}
"""The first layer with full attention, padded."""

NOT_GUESSED = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers")


def published(size: str) -> tuple[TargetConfig, DrafterConfig]:
    target, drafter = PUBLISHED[size]
    return parse_target(target, size), parse_drafter(drafter, f"{size}-assistant")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", SIZES)
def test_every_form(size: str, form: Callable[[Json], Json]) -> None:
    """Multimodal and text-only targets, and drafters."""
    target, drafter = (in_form(config, form) for config in PUBLISHED[size])
    assert parse_target(target, "target") == published(size)[0]
    assert parse_target(target["text_config"], "text only") == published(size)[0]
    assert parse_drafter(drafter, "drafter") == published(size)[1]
    check_pair(*published(size))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", SIZES)
def test_saved_again(size: str, form: Callable[[Json], Json], tmp_path: Path) -> None:
    """What the installed transformers reads of a form, it writes as something that says the same."""
    target_json, drafter_json = (in_form(config, form) for config in PUBLISHED[size])
    if (
        form.__name__ == "silent"
    ):  # a null for it is the one thing that transformers reads otherwise
        for config in (target_json, drafter_json):
            del config["text_config"]["per_layer_config"]
    target, drafter = published(size)
    for saved in written(Gemma4Config.from_dict(target_json), tmp_path):
        assert FIRST_FULL[size] in saved["text_config"]["per_layer_config"]
        assert parse_target(saved, "saved") == target
    for saved in written(Gemma4Config.from_dict(target_json).text_config, tmp_path):
        assert saved["model_type"] == "gemma4_text"
        assert parse_target(saved, "saved text") == target
    for saved in written(Gemma4AssistantConfig.from_dict(drafter_json), tmp_path):
        assert parse_drafter(saved, "saved") == drafter


def written(
    config: Gemma4Config | Gemma4TextConfig | Gemma4AssistantConfig, folder: Path
) -> list[Json]:
    """With defaults left out, as ``save_pretrained`` does, and with them."""
    config.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    return [saved, json.loads(config.to_json_string(use_diff=False))]


def test_every_layer_listed() -> None:
    """The option of transformers that writes all overrides writes what our form has."""
    config = Gemma4TextConfig(**e2b_json()["text_config"])
    config.serialize_explicit_per_layer_config = True
    expected = explicit(e2b_json()["text_config"])["per_layer_config"]
    assert config.to_dict()["per_layer_config"] == expected


def test_a_stack_without_overrides() -> None:
    """All layers of one head dim: transformers then writes an empty object, which is not 512."""
    text = e2b_json()["text_config"] | {"head_dim": 512}
    saved = json.loads(Gemma4TextConfig(**text).to_json_string())
    assert saved["per_layer_config"] == {}
    assert {layer.head_dim for layer in parse_target(saved, "saved").text.layers} == {512}


@pytest.mark.parametrize("key", [k for k in e4b_json()["text_config"] if k not in NOT_GUESSED])
def test_what_is_left_out_is_what_transformers_takes(key: str) -> None:
    """For E4B, whose ``layer_types`` are transformers' own too."""
    text = without(e4b_json()["text_config"], key)
    if key == "num_attention_heads":
        text["num_key_value_heads"] = 1
    filled = json.loads(Gemma4TextConfig(**deepcopy(text)).to_json_string())
    assert parse_target(text, "left out") == parse_target(filled, "filled")


@pytest.mark.parametrize("key", ["layer_types", "rope_parameters"])
def test_nulls_that_transformers_fills(key: str) -> None:
    config = e4b_json()
    config["text_config"][key] = None
    assert parse_target(config, "null") == published("e4b")[0]


@pytest.mark.parametrize("key", ["rope_type", "type"])
def test_a_rope_without_type_is_the_default(key: str) -> None:
    config = e2b_json()
    config["text_config"]["rope_parameters"]["sliding_attention"] = {"rope_theta": 1e4}
    if key == "type":  # its name before transformers 5
        config["text_config"]["rope_parameters"]["sliding_attention"]["type"] = "default"
    assert parse_target(config, "here") == published("e2b")[0]


def test_every_fault_of_the_overrides_is_listed() -> None:
    config = in_form(e2b_json(), newer)
    text = config["text_config"]
    text["per_layer_config"] |= {
        "35": {"head_dim": 512},
        "-1": {},
        "four": {},
        "": {},
        "9": {"head_dim": 512},
        "14": None,
        "19": {"head_dim": "512"},
        "24": {"head_dim": 512, "sliding_window": 1024, "rotary": 1, "skip": ["mlp"]},
        "29": {"head_dim": 512, "sliding_window": 512, "skip": []},
        "00": {"head_dim": True},
    }
    with pytest.raises(ConfigError) as raised:
        parse_target(config, "here")
    assert sorted(str(raised.value).splitlines()[1:]) == [
        "  - per_layer_config.00.head_dim: expected an integer of at least 1, found True",
        "  - per_layer_config.14: expected an object, found None",
        "  - per_layer_config.19.head_dim: expected an integer of at least 1, found '512'",
        "  - per_layer_config.24.rotary: expected what all layers have (nothing), found 1",
        "  - per_layer_config.24.skip: expected what all layers have (nothing), found ['mlp']",
        "  - per_layer_config.24.sliding_window: expected what all layers have (512), found 1024",
        "  - per_layer_config: expected layers from 0 to 34, found '35', '-1', 'four', ''",
        "  - per_layer_config: expected one entry for layer 9, found '09' and '9'",
        "  - per_layer_config: expected one head_dim for all full_attention layers, found 512 in 4, "
        "9, 24, 29, 34; 256 in 14",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"per_layer_config": [512]}, "per_layer_config: expected an object, found"),
        ({"per_layer_config": {"04": {"head_dim": 512}}}, "512 in 4; 256 in 9, 14, 19, 24, 29, 34"),
        ({"per_layer_config": {"00": {"num_key_value_heads": 2}}}, "one num_key_value_heads for"),
        ({"per_layer_config": {"9" * 5000: {}}}, "expected layers from 0 to 34"),
        (
            {"global_head_dim": 256},
            "global_head_dim is 256, but with per_layer_config full_attention",
        ),
        ({"per_layer_config": {}, "global_head_dim": 512}, "layers have a head_dim of 256; remove"),
    ],
)
def test_overrides_that_contradict(change: Json, said: str) -> None:
    config = in_form(e2b_json(), newer)
    config["text_config"] |= change
    with pytest.raises(ConfigError, match=said):
        parse_target(config, "here")


def test_kv_heads_of_a_kind() -> None:
    """Overrides may hold these as well; a global number counts only where keys are values."""
    config = in_form(e4b_json(), newer)
    text = config["text_config"]
    assert (
        parse_target(in_form(config, lambda t: t | {"num_global_key_value_heads": 1}), "here")
        == (published("e4b")[0])
    )
    for entry in text["per_layer_config"].values():
        entry["num_key_value_heads"] = 4
    kv_heads = [layer.kv_heads for layer in parse_target(config, "here").text.layers]
    assert kv_heads == [2, 2, 2, 2, 2, 4] * 7
    assert overrides(text).keys() == text["per_layer_config"].keys()
