"""What a bundle needs of a checkpoint besides weights: tokenizer, chat template, stop tokens.

Parsed from the files transformers saves beside the weights; no tokenizer code is run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.errors import CheckpointError

MOST = 1_000_000
"""Above any sampler setting that means something."""


@dataclass(frozen=True)
class SamplerDefaults:
    """Sampling settings that an app gets if it asks for none; ``top_k`` 1 is greedy."""

    top_k: int
    top_p: float
    temperature: float


@dataclass(frozen=True)
class Assets:
    """Text side of a target checkpoint."""

    tokenizer_json: Path
    chat_template: str
    bos_token_id: int
    stop_token_ids: tuple[int, ...]
    sampler: SamplerDefaults
    special_tokens: dict[str, str]
    """Gemma's named special tokens (``stc_token``, ``escape_token``, ...) where the tokenizer has them."""


def read_assets(target: Checkpoint) -> Assets:
    """Collect tokenizer, template and generation defaults of a target.

    Raises:
        CheckpointError: The tokenizer or the chat template is missing, or no stop token is defined.
    """
    tokenizer = target.small_file("tokenizer.json")
    if not tokenizer.is_file():
        raise CheckpointError(
            f"{target.folder}: expected a tokenizer.json, found none; save the tokenizer beside the "
            "weights (AutoTokenizer.from_pretrained(base).save_pretrained(folder))"
        )
    vocabulary = _special_ids(tokenizer)
    settings = target.json_file("tokenizer_config.json") or {}
    generation = target.json_file("generation_config.json") or {}
    return Assets(
        tokenizer_json=tokenizer,
        chat_template=_chat_template(target, settings),
        bos_token_id=_bos(target, settings, generation, vocabulary),
        stop_token_ids=_stop_tokens(target, generation),
        sampler=SamplerDefaults(
            top_k=int(_number(target, generation, "top_k")),
            top_p=_number(target, generation, "top_p"),
            temperature=_number(target, generation, "temperature"),
        ),
        special_tokens=_special_tokens(settings),
    )


def _number(target: Checkpoint, generation: dict[str, Any], key: str) -> float:
    """A sampler setting; 1, which changes nothing, where there is none."""
    value = generation.get(key)
    if value is None:
        return 1
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise CheckpointError(
            f"{target.folder}: generation_config.json: {key}: expected a number, found {value!r}"
        )
    return value or 1


def _special_ids(tokenizer: Path) -> dict[str, int]:
    """Ids of the added tokens, once it is sure that the file is a tokenizer at all."""
    try:
        content = json.loads(tokenizer.read_text(encoding="utf-8"))
        if not content["model"]["vocab"]:
            raise ValueError("its vocabulary is empty")
        return {entry["content"]: int(entry["id"]) for entry in content.get("added_tokens", [])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{tokenizer}: expected a Hugging Face tokenizer, found something else ({error})"
        ) from error


def _chat_template(target: Checkpoint, settings: dict[str, Any]) -> str:
    template = target.text_file("chat_template.jinja") or settings.get("chat_template")
    if isinstance(template, str) and template.strip():
        return template
    raise CheckpointError(
        f"{target.folder}: expected a chat template (chat_template.jinja, or chat_template in "
        "tokenizer_config.json), found none; copy the one of the instruction-tuned model"
    )


def _bos(
    target: Checkpoint,
    settings: dict[str, Any],
    generation: dict[str, Any],
    vocabulary: dict[str, int],
) -> int:
    bos = settings.get("bos_token")
    if isinstance(bos, dict):  # older transformers write the whole AddedToken
        bos = bos.get("content")
    if isinstance(bos, str) and bos in vocabulary:
        return vocabulary[bos]
    for config in (generation, target.config.get("text_config") or {}, target.config):
        if isinstance(config.get("bos_token_id"), int):
            return int(config["bos_token_id"])
    raise CheckpointError(
        f"{target.folder}: expected bos_token in tokenizer_config.json or bos_token_id in "
        "generation_config.json, found neither"
    )


def _stop_tokens(target: Checkpoint, generation: dict[str, Any]) -> tuple[int, ...]:
    text = target.config.get("text_config") or target.config
    for config in (generation, target.config, text):
        ids = config.get("eos_token_id")
        if ids is None:
            continue
        ids = ids if isinstance(ids, list) else [ids]
        if not ids or not all(type(i) is int and 0 <= i < text["vocab_size"] for i in ids):
            raise CheckpointError(
                f"{target.folder}: eos_token_id: expected token ids below {text['vocab_size']}, found {ids}"
            )
        return tuple(ids)
    raise CheckpointError(
        f"{target.folder}: expected eos_token_id in generation_config.json or config.json, found none; "
        "without a stop token an answer never ends"
    )


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    extra = settings.get("extra_special_tokens")
    named = {**settings, **(extra if isinstance(extra, dict) else {})}
    return {
        name: value
        for name, value in named.items()
        if name.endswith("_token") and isinstance(value, str)
    }
