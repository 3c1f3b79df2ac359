"""A target that says again what stood so many tokens before, by attention to that position alone.

Two layers, one of each kind of attention. Query and key of a token do not depend on it: turned by their
positions, they fit best where the key stands :data:`BACK` tokens before the query, and 13 or more nats
worse anywhere else. A position that is off by one shows as a wrong digit. All tokens but the ten digits
are alike.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.bundles import TINY_TARGET
from tests.export.command import edit_json

BACK = 40
"""How far a query looks back; the window of the sliding layer is 64. What is said is one token more ago."""

POSITIONS = 4096

FIT = 20.0
"""Of one pair of turning dimensions where all fit; a neighbour fits 0.7 to 0.8 times as much worse."""

DIGITS = "0123456789"

KINDS = ("sliding_attention", "full_attention")
OF_KIND = dict(zip(KINDS, (0, 3), strict=True))
"""A layer of the tiny target whose shapes are taken."""

CONSTANT = 0
READ, SLIDING, FULL = (range(1, 12), range(21, 32), range(41, 52))
"""Dimensions of the hidden state: the token itself, what the sliding and what the full layer found.

Of 11 each, for ten digits and for all else.
"""

TEXT = "model.language_model."


def write_copying_target(folder: Path) -> Path:
    """Write it; tokenizer and chat template are the tiny target's."""
    shutil.copytree(TINY_TARGET, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = {
        **config["text_config"],
        "num_hidden_layers": len(KINDS),
        "layer_types": KINDS,
        "num_kv_shared_layers": 0,
        "max_position_embeddings": POSITIONS,
    }
    edit_json(folder / "config.json", text_config=text)
    given = load_file(folder / "model.safetensors")
    tensors = {name: found for name, found in given.items() if f"{TEXT}layers." not in name}
    for place, kind in enumerate(KINDS):
        source, own = f"{TEXT}layers.{OF_KIND[kind]}.", f"{TEXT}layers.{place}."
        layer = {
            name.removeprefix(source): tensor
            for name, tensor in given.items()
            if name.startswith(source)
        }
        _plant(layer, kind, text["rope_parameters"][kind])
        tensors |= {own + name: tensor for name, tensor in layer.items()}
    width = text["hidden_size_per_layer_input"] * len(KINDS)
    for name, cut in (("embed_tokens_per_layer", 1), ("per_layer_model_projection", 0)):
        key = f"{TEXT}{name}.weight"
        tensors[key] = tensors[key].narrow(cut, 0, width).contiguous()
    tensors[f"{TEXT}embed_tokens.weight"] = _embeddings(folder, given)
    tensors[f"{TEXT}norm.weight"].fill_(10.0)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def _embeddings(folder: Path, given: dict[str, Tensor]) -> Tensor:
    """A row of each token: the constant, and its digit in all three places."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"][
        "vocab"
    ]
    kinds = torch.full((len(given[f"{TEXT}embed_tokens.weight"]),), len(DIGITS))
    for value, digit in enumerate(DIGITS):
        kinds[vocabulary[digit]] = value
    rows = torch.zeros_like(given[f"{TEXT}embed_tokens.weight"])
    rows[:, CONSTANT] = 0.25
    for place in (READ, SLIDING, FULL):
        rows[torch.arange(len(rows)), place.start + kinds] = 0.125
    return rows


def _plant(layer: dict[str, Tensor], kind: str, rope: dict[str, float]) -> None:
    """Make a layer look back; its other branches add nothing."""
    for name in ("post_feedforward_layernorm", "post_per_layer_input_norm"):
        layer[f"{name}.weight"].zero_()
    for name in ("layer_scalar", "input_layernorm.weight", "post_attention_layernorm.weight"):
        layer[name].fill_(1.0)
    head_dim = len(layer["self_attn.k_norm.weight"])
    half, turning = head_dim // 2, int(rope.get("partial_rotary_factor", 1.0) * head_dim) // 2
    angles = BACK / rope["rope_theta"] ** (torch.arange(turning) * 2 / head_dim)
    query, key = torch.zeros(head_dim), torch.zeros(head_dim)
    query[:turning], key[:turning], key[half : half + turning] = 1.0, angles.cos(), angles.sin()
    heads = len(layer["self_attn.q_proj.weight"]) // head_dim
    for name, vector in (("q", query.repeat(heads)), ("k", key)):
        layer[f"self_attn.{name}_proj.weight"].zero_()[:, CONSTANT] = vector.bfloat16()
        # normed, a vector has length sqrt(head_dim), in `turning` pairs
        layer[f"self_attn.{name}_norm.weight"].fill_(math.sqrt(FIT * turning / head_dim))
    found = SLIDING if kind == KINDS[0] else FULL
    values, outputs = layer["self_attn.v_proj.weight"].zero_(), layer["self_attn.o_proj.weight"]
    outputs.zero_()
    for value, (read, said) in enumerate(zip(READ, found, strict=True)):
        values[value, read] = 1.0
        outputs[said, value::head_dim] = 1.0
