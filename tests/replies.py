"""Questions with known answers; replies of the stock engine and of transformers, each from its process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tests.bundles import TINY_TARGET

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
"""With the right answers, which do not depend on what a picture or a clip is like."""


def token_of(animal: str) -> int:
    """The tiny target's token for an animal within a sentence."""
    token = Tokenizer.from_file(str(TINY_TARGET / "tokenizer.json")).token_to_id(f"▁{animal}")
    assert token is not None
    return token


def run(script: str, arguments: list[str], asked: Any) -> list[str]:
    """Replies to what was asked, of ``engine_replies.py`` or ``reference_replies.py``."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    replies: list[str] = json.loads(done.stdout.splitlines()[-1])
    return replies
