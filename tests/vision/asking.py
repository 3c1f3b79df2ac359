"""Conversations about pictures, written as lists, and what the stock engine answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.bundle.engine_template import Json
from runtime_py.chat.conversation import Conversation, Message
from runtime_py.chat.media import Medium, file_part
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.reply import RunResult

NEW_TOKENS = 32
SLOTS = 1024


def conversation(turns: Sequence[Any]) -> Conversation:
    """Turns: at even places the user's, lists of texts and of paths of pictures; the others are texts."""
    *history, asked = [
        Message("assistant", turn) if number % 2 else Message("user", tuple(map(part, turn)))
        for number, turn in enumerate(turns)
    ]
    return Conversation((asked,), tuple(history))


def part(item: Any) -> Json:
    if isinstance(item, Path):
        return file_part(Medium.IMAGE, item)
    return {"type": "text", "text": item}


def in_engine(bundle: Path, mtp: str, asked: Sequence[Any]) -> RunResult:
    settings = EngineSettings(bundle, mtp == "on", NEW_TOKENS, threads=2, max_num_tokens=SLOTS)
    return run_engine(settings, list(map(conversation, asked)))
