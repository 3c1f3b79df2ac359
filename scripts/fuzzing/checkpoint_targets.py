"""Checkpoints and adapters: what an export reads before it stores a weight."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exporter.agreement import make_contract
from exporter.checkpoints.assets.assets import read_assets
from exporter.checkpoints.assets.picture_settings import check_picture_settings
from exporter.checkpoints.checkpoint import Checkpoint, open_checkpoint
from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.configs.sound import longest_clip
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.json_file import read_json
from exporter.checkpoints.lora.adapter import open_adapter
from exporter.checkpoints.lora.low_rank import LowRank
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.stored_tensor import read_tensors
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.options import ExportOptions
from exporter.path_kind import kind_of
from exporter.plan.recipe_sizes import described_weights, size_recipes
from fuzzing.places import CHECKPOINTS, in_folder
from fuzzing.target import Target
from quantize.builtin_recipes import RECIPES
from quantize.recipe_file import read_recipe

TINY, DRAFTER = CHECKPOINTS / "target", CHECKPOINTS / "drafter"

KEPT_TOKENS = 80
"""Of the tokenizer: reading two thousand for each input would be most of the work."""


def small_tokenizer() -> bytes:
    """The tiny pair's, with few tokens besides the special ones."""
    content = json.loads((TINY / "tokenizer.json").read_bytes())
    vocabulary = dict(list(content["model"]["vocab"].items())[: KEPT_TOKENS * 4])
    content["model"]["vocab"] = vocabulary
    content["model"]["merges"] = [
        merge
        for merge in content["model"]["merges"]
        if {*_pair(merge), "".join(_pair(merge))} <= vocabulary.keys()
    ][:KEPT_TOKENS]
    return json.dumps(content).encode()


def _pair(merge: Any) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else merge


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


AUDIO: Mapping[str, Any] = {
    "attention_chunk_size": 12, "attention_context_left": 13, "attention_context_right": 0,
    "attention_logit_cap": 50.0, "conv_kernel_size": 5, "hidden_act": "silu", "hidden_size": 64,
    "model_type": "gemma4_audio", "num_attention_heads": 2, "num_hidden_layers": 1, "output_proj_dims": 64,
    "residual_weight": 0.5, "rms_norm_eps": 1e-6, "subsampling_conv_channels": [128, 32],
    "use_clipped_linears": True,
}  # fmt: skip
PROCESSOR: Mapping[str, Any] = {
    "audio_seq_length": 750, "audio_ms_per_token": 40,
    "image_processor": {
        "do_resize": True, "do_rescale": True, "do_convert_rgb": True, "do_normalize": False, "patch_size": 4,
        "pooling_kernel_size": 3, "rescale_factor": 1 / 255, "image_mean": [0, 0, 0], "image_std": [1, 1, 1],
    },
    "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "sampling_rate": 16000},
}  # fmt: skip
TUNING: Mapping[str, Any] = {
    "target": {"source": "target", "adapter": {"source": "a", "revision": None}}
}


def configs(folder: Path) -> Target:
    """JSON files of a pair, its tokenizer and what follows from them: contract, sizes, text side, towers."""
    config = json.loads((TINY / "config.json").read_bytes())
    config["audio_config"] = dict(AUDIO)
    parts = {
        "config.json": _json(config),
        "drafter.json": (DRAFTER / "config.json").read_bytes(),
        "generation_config.json": (TINY / "generation_config.json").read_bytes(),
        "tokenizer_config.json": (TINY / "tokenizer_config.json").read_bytes(),
        "tokenizer.json": small_tokenizer(),
        "processor_config.json": _json(PROCESSOR),
        "tuning.json": _json(TUNING),
    }
    (folder / "chat_template.jinja").write_bytes((TINY / "chat_template.jinja").read_bytes())

    def read(where: Path) -> None:
        target = Checkpoint(where, "target", None, read_json(where / "config.json"), {})
        drafter = Checkpoint(where, "drafter", None, read_json(where / "drafter.json"), {})
        _ = target.ties_head
        pair = Pair.of(target, drafter)
        pair.notes()
        options = ExportOptions(RECIPES["int8"])
        agreed = make_contract(pair.target_config, pair.drafter_config, options)
        agreed.section_signatures()
        weights = described_weights(target.config, drafter.config, str(where), options)
        size_recipes(weights, [RECIPES["int8"], RECIPES["int4"]])
        vision = parse_vision(target.config, str(where))
        if vision is not None:
            check_picture_settings(target, vision)
        if parse_audio(target.config, str(where)) is not None:
            longest_clip(target)
        read_assets(target, pair.target_config)

    return Target("configs", parts, in_folder(folder, parts, read))


def written_safetensors(tensors: Mapping[str, tuple[str, list[int], bytes]]) -> bytes:
    """A file of tensors: type, shape and bytes by name."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = _json(header)
    return len(text).to_bytes(8, "little") + text + data


def safetensors(folder: Path) -> Target:
    """Headers and the index of shards."""
    first = written_safetensors(
        {"a.weight": ("F32", [2, 2], bytes(16)), "b": ("BF16", [3], bytes(6))}
    )
    parts = {
        "model-1.safetensors": first,
        "model-2.safetensors": written_safetensors(
            {"c": ("F16", [0, 4], b""), "d": ("F16", [4], bytes(8))}
        ),
        "model.safetensors.index.json": _json(
            {"weight_map": {"a.weight": "model-1.safetensors", "c": "model-2.safetensors"}}
        ),
    }

    def read(where: Path) -> None:
        tensors = read_tensors(where)
        with TensorReader() as reader:
            for tensor in tensors.values():
                if tensor.shape and tensor.shape[0]:
                    reader.numbers(tensor, 0, min(tensor.shape[0], 4))

    return Target("safetensors", parts, in_folder(folder, parts, read))


def qat(folder: Path) -> Target:
    """Packed codes with their scales, and the block of the config that says how."""
    half = np.full(4, 0.5, np.float32)
    tensors = {
        "model.language_model.layers.0.mlp.up_proj.weight": ("U8", [4, 8], bytes(range(32))),
        "model.language_model.layers.0.mlp.up_proj.weight_scale": ("F32", [4, 1], half.tobytes()),
        "model.language_model.layers.0.mlp.gate_proj.weight": ("I8", [2, 8], bytes(16)),
        "model.language_model.layers.0.mlp.gate_proj.weight_scale": ("F32", [2, 2], half.tobytes()),
        "model.language_model.embed_tokens.embedding_quantized": ("U8", [4, 4], bytes(16)),
        "model.language_model.embed_tokens.embedding_scale": ("F32", [4, 1], half.tobytes()),
    }
    block = {
        "quant_method": "gemma", "num_bits": 4,
        "module_quant_configs": {"gate_proj": {"num_bits": 8}, "embed_tokens": {"num_bits": 2}},
    }  # fmt: skip
    parts = {
        "config.json": _json(
            {"model_type": "gemma4", "quantization_config": block, "text_config": {}}
        ),
        "model.safetensors": written_safetensors(tensors),
    }

    def read(where: Path) -> None:
        checkpoint = open_checkpoint(where)
        with TensorReader() as reader:
            for packed in checkpoint.packed.values():
                rows = min(packed.shape[0], 8)
                packed.signed(0, rows, reader)
                packed.floats(0, rows, reader)

    return Target("qat", parts, in_folder(folder, parts, read))


def adapters(folder: Path) -> Target:
    """PEFT's configuration and factors; what they do to rows of a weight is computed, too."""
    module = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    tokens = "base_model.model.model.language_model.embed_tokens"
    tensors = {
        f"{module}.lora_A.weight": ("F32", [2, 4], np.ones(8, np.float32).tobytes()),
        f"{module}.lora_B.weight": ("F32", [4, 2], np.ones(8, np.float32).tobytes()),
        f"{tokens}.token_adapter.trainable_tokens_delta": (
            "F32",
            [1, 4],
            np.ones(4, np.float32).tobytes(),
        ),
        "base_model.model.lm_head.weight": ("F32", [2, 4], bytes(32)),
    }
    config = json.loads((CHECKPOINTS / "tools" / "adapter_config.json").read_bytes())
    config |= {
        "r": 2, "lora_alpha": 4, "rank_pattern": {"k_proj": 2}, "alpha_pattern": {"q_proj": 8},
        "modules_to_save": ["lm_head"], "trainable_token_indices": {"embed_tokens": [1]},
    }  # fmt: skip
    parts = {
        "adapter_config.json": _json(config),
        "adapter_model.safetensors": written_safetensors(tensors),
    }

    def read(where: Path) -> None:
        kind_of(where)
        adapter = open_adapter(where)
        adapter.notes("target")
        with TensorReader() as reader:
            for change in adapter.changes.values():
                rows = np.ones((4 if isinstance(change.rows, LowRank) else 8, 4), np.float32)
                if change.rows is not None and change.rows.misfit(rows.shape) is None:
                    assert np.isfinite(change.rows.changed(rows, 0, reader)).all()

    return Target("adapters", parts, in_folder(folder, parts, read))


def recipes(folder: Path) -> Target:
    """Files of rules."""
    rules = [
        {"pattern": "target.*.mlp.*", "storage": "int4-block32", "algorithm": "clip"},
        {"pattern": "target.layers.[01].*", "storage": "int8", "algorithm": "gptq"},
        {"pattern": "*", "storage": "float32"},
    ]
    parts = {"recipe.json": _json({"name": "mine", "summary": "s", "rules": rules})}

    def read(where: Path) -> None:
        recipe = read_recipe(where / "recipe.json")
        names = ("target.layers.0.mlp.up_proj.weight", "drafter.embed_tokens.weight")
        for name in names:
            recipe.rule(name)
        recipe.unmatched(names)

    return Target("recipes", parts, in_folder(folder, parts, read))
