"""Conversations about pictures and sounds, written as lists, and what is answered to them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.bundle.engine_template import Json
from runtime_py.chat.conversation import Conversation, Message
from runtime_py.chat.media import Medium, file_part
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import OpenedModel
from runtime_py.reference_run import RunSettings, run_reference
from runtime_py.reply import RunResult

NEW_TOKENS = 32
SLOTS = 1024
HARDWARE = Hardware(threads=2)
HERE = Path(__file__).parent

QUESTIONS = {
    animal: {
        "What does the{} eat?": f"The {animal} eats {food}.",
        "Please tell me. Where does the{} live?": f"The {animal} lives in a {home}.",
        "What colour is the{}?": f"The {animal} is {colour}.",
        "What sound does the{} make?": f"The {animal} {sound}.",
    }
    for animal, food, home, colour, sound in (
        ("fox", "berries", "den", "red", "barks"),
        ("frog", "flies", "pond", "green", "croaks"),
        ("cat", "fish", "cottage", "black", "purrs"),
    )
}
"""With the right answers, which do not depend on what the picture or the sound is like."""


def conversation(turns: Sequence[Any]) -> Conversation:
    """Turns: at even places the user's, lists of texts and of paths of files; the others are texts."""
    *history, asked = [
        Message("assistant", turn) if number % 2 else Message("user", tuple(map(part, turn)))
        for number, turn in enumerate(turns)
    ]
    return Conversation((asked,), tuple(history))


def part(item: Any) -> Json:
    if isinstance(item, Path):
        return file_part(Medium.AUDIO if is_sound(item) else Medium.IMAGE, item)
    return {"type": "text", "text": item}


def in_engine(bundle: Path, mtp: str, asked: Sequence[Any]) -> RunResult:
    settings = EngineSettings(bundle, mtp == "on", NEW_TOKENS, threads=2, max_num_tokens=SLOTS)
    return run_engine(settings, list(map(conversation, asked)))


def in_reference(model: OpenedModel, drafts: int, asked: Sequence[Any]) -> RunResult:
    settings = RunSettings(drafts, NEW_TOKENS)
    return run_reference(model, settings, list(map(conversation, asked)))


def prompt_lengths(done: RunResult) -> list[int]:
    return [reply.prefill_tokens for replies in done.replies for reply in replies]


def transformers_replies(target: Path, prompts: list[Any], frames: int = 0) -> list[str]:
    """What transformers answers to prompts, each a list of texts and of paths of pictures and sounds.

    Args:
        target: The checkpoint.
        prompts: What is asked.
        frames: Of sound, that are encoded at once.
    """
    command = [sys.executable, str(HERE / "reference_replies.py"), str(target)]
    asked = [[_named(item, frames) for item in prompt] for prompt in prompts]
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    replies: list[str] = json.loads(done.stdout.splitlines()[-1])
    return replies


def _named(item: Any, frames: int) -> Any:
    if not isinstance(item, Path):
        return item
    return {"audio": str(item), "frames": frames} if is_sound(item) else {"image": str(item)}


def is_sound(path: Path) -> bool:
    return path.suffix in (".wav", ".flac", ".mp3")
