"""Tokenizer, chat template and generation defaults of a planted pair.

Every token has a readable piece: Gemma's special tokens, 256 bytes where Gemma 4 has them, and
`▁t<id>` for the rest. Text is split at spaces; ` t1000` is the token 1000, any other word its bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PAD, EOS, BOS, UNK, TOOL_RESPONSE, TURN_START, TURN_END = 0, 1, 2, 3, 50, 105, 106
STOP_IDS = [EOS, TURN_END, TOOL_RESPONSE]
FIRST_BYTE = 238
FIRST_PIECE = FIRST_BYTE + 256

GENERATION = {
    "bos_token_id": BOS,
    "do_sample": False,
    "eos_token_id": STOP_IDS,
    "pad_token_id": PAD,
}

_NAMED = {
    PAD: "<pad>",
    EOS: "<eos>",
    BOS: "<bos>",
    UNK: "<unk>",
    TOOL_RESPONSE: "<|tool_response>",
    TURN_START: "<|turn>",
    TURN_END: "<turn|>",
}

# A reply begins with the partner of the prompt's last token. So the prompt must end with the user's
# own words: no <turn|> behind them, no <|turn>model before the answer.
CHAT_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages -%}
{{ '<|turn>' + message['role'] + '\\n' }}
{%- if message['content'] is string -%}
{{ message['content'] | trim }}
{%- else -%}
{%- for item in message['content'] -%}
{%- if item['type'] == 'text' -%}
{{ item['text'] | trim }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
"""


def piece(token: int) -> str:
    """The vocabulary entry of a token."""
    if token in _NAMED:
        return _NAMED[token]
    if token < FIRST_BYTE:
        return f"<unused{token}>"
    if token < FIRST_PIECE:
        return f"<0x{token - FIRST_BYTE:02X}>"
    return f"▁t{token}"


def tokenizer_json(vocab: int) -> dict[str, Any]:
    """A tokenizer.json: byte-fallback BPE without merges, whole words looked up first."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    specials = [{"id": i, "content": piece(i), **flags, "special": True} for i in range(FIRST_BYTE)]
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    unspace = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": specials,
        "normalizer": space,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": "▁"},
            "behavior": "MergedWithNext",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_bos(), {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [_bos(), *({"Sequence": {"id": i, "type_id": 0}} for i in "AB")],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [unspace, {"type": "ByteFallback"}, {"type": "Fuse"}],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": piece(UNK),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": True,
            "vocab": {piece(token): token for token in range(vocab)},
            "merges": [],
        },
    }


def _bos() -> dict[str, Any]:
    return {"SpecialToken": {"id": "<bos>", "type_id": 0}}


def write_target_files(folder: Path, vocab: int, max_position: int) -> None:
    """Everything beside the target's weights and config."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_position,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
        "bos_token": piece(BOS),
        "eos_token": piece(EOS),
        "pad_token": piece(PAD),
        "unk_token": piece(UNK),
    }
    _write(folder / "tokenizer.json", tokenizer_json(vocab))
    _write(folder / "tokenizer_config.json", settings)
    _write(folder / "generation_config.json", GENERATION)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def write_drafter_files(folder: Path) -> None:
    """What is beside the drafter's weights and config: how transformers shall draft with it."""
    drafting = {"num_assistant_tokens": 3, "num_assistant_tokens_schedule": "constant"}
    _write(folder / "generation_config.json", {**GENERATION, **drafting})


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
