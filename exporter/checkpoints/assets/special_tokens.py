"""Gemma 4's special tokens by name: those that fence tool calls, thoughts and turns.

A tokenizer's settings may name them; a tokenizer that was saved without the names still has the tokens, and
then they are known by their texts.
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.checkpoints.assets.text_settings import TextSettings
from exporter.checkpoints.assets.tokenizer_file import TokenizerFile

TURN_END = "eot_token"
TOOL_RESPONSE_START = "str_token"
CALL_START, CALL_END = "stc_token", "etc_token"
THOUGHT_START, THOUGHT_END = "soc_token", "eoc_token"
QUOTE = "escape_token"

TEXTS: Mapping[str, str] = {
    TURN_END: "<turn|>",
    TOOL_RESPONSE_START: "<|tool_response>",
    CALL_START: "<|tool_call>",
    CALL_END: "<tool_call|>",
    THOUGHT_START: "<|channel>",
    THOUGHT_END: "<channel|>",
    QUOTE: '<|"|>',
}
"""What they are in Google's tokenizers, by the names that tokenizer_config.json gives them."""


def special_tokens(settings: TextSettings, tokenizer: TokenizerFile) -> dict[str, str]:
    """Texts of the named tokens, as far as they are single tokens of the tokenizer."""
    found = {}
    for name, usual in TEXTS.items():
        candidates = (settings.token_text(name), usual)
        if text := next((text for text in candidates if text in tokenizer.added), None):
            found[name] = text
    return found
