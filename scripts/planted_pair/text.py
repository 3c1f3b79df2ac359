"""Tokenizer, chat template and generation defaults of a planted pair.

Every token has a readable piece: Gemma's special tokens, 256 bytes where Gemma 4 has them, and
`▁t<id>` for the rest. Text is split at spaces; ` t1000` is the token 1000, any other word its bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pair_parts import BOS, DRAFTING, EOS, GENERATION, NAMED_TOKENS, PAD, UNK
from tiny_pair.chat import assembled
from tokenizers import pre_tokenizers

from .towers import PICTURE, SOUND, TOKENS

FIRST_BYTE = 238
FIRST_PIECE = FIRST_BYTE + 256

NAMES = {**NAMED_TOKENS, **TOKENS}

# A reply begins with the partner of the prompt's last token. So the prompt must end with the user's
# own words: no <turn|> behind them, no <|turn>model before the answer.
CHAT_TEMPLATE = f"""\
{{{{ bos_token }}}}
{{%- for message in messages -%}}
{{{{ '<|turn>' + message['role'] + '\\n' }}}}
{{%- if message['content'] is string -%}}
{{{{ message['content'] | trim }}}}
{{%- else -%}}
{{%- for item in message['content'] -%}}
{{%- if item['type'] == 'text' -%}}
{{{{ item['text'] | trim }}}}
{{%- elif item['type'] == 'image' -%}}
{{{{ '{TOKENS[PICTURE]}' }}}}
{{%- elif item['type'] == 'audio' -%}}
{{{{ '{TOKENS[SOUND]}' }}}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- endif -%}}
{{%- endfor -%}}
"""


def piece(token: int) -> str:
    """The vocabulary entry of a token."""
    if token < FIRST_BYTE:
        return NAMES.get(token, f"<unused{token}>")
    if token < FIRST_PIECE:
        return f"<0x{token - FIRST_BYTE:02X}>"
    return f"▁t{token}"


def tokenizer_json(vocab: int) -> dict[str, Any]:
    """A tokenizer.json: byte-fallback BPE without merges, whole words looked up first."""
    tokenizer = assembled([*map(piece, range(vocab))], [], FIRST_BYTE, ignore_merges=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    return content


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
    """What is beside the drafter's weights and config."""
    _write(folder / "generation_config.json", {**GENERATION, **DRAFTING})


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
