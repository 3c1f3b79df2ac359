"""What every pair that is made here has of Gemma 4: special tokens, kinds of layers, rotary embeddings."""

from __future__ import annotations

from typing import Any

PAD, EOS, BOS, UNK, TOOL_RESPONSE, TURN_START, TURN_END = 0, 1, 2, 3, 50, 105, 106
STOP_IDS = [EOS, TURN_END, TOOL_RESPONSE]

NAMED_TOKENS = {
    PAD: "<pad>",
    EOS: "<eos>",
    BOS: "<bos>",
    UNK: "<unk>",
    TOOL_RESPONSE: "<|tool_response>",
    TURN_START: "<|turn>",
    TURN_END: "<turn|>",
}

GENERATION = {
    "bos_token_id": BOS,
    "do_sample": False,
    "eos_token_id": STOP_IDS,
    "pad_token_id": PAD,
}
"""Of generation_config.json: greedy."""

DRAFT_LENGTH = 3
DRAFTING = {"num_assistant_tokens": DRAFT_LENGTH, "num_assistant_tokens_schedule": "constant"}
"""What a drafter's generation_config.json adds: how transformers shall draft with it."""

CONTENT_TEMPLATE = """\
{%- if message['content'] is string -%}
{{ message['content'] | trim }}
{%- else -%}
{%- for item in message['content'] -%}
{%- if item['type'] == 'text' -%}
{{ item['text'] | trim }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
"""
"""The part of a chat template that prints a message's text."""

SLIDING, FULL = "sliding_attention", "full_attention"
DRAFTER_LAYERS = (SLIDING, SLIDING, SLIDING, FULL)

ROPE: dict[str, dict[str, Any]] = {
    SLIDING: {"rope_type": "default", "rope_theta": 10_000.0},
    FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
}
