"""LiteRT-LM's own command, PyPI's ``litert-lm``: what it says of a bundle, and what it does with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runtime_py.chat.conversation import Conversation
from runtime_py.engine.stock_engine import EngineSettings, run_engine
from tests.bundles import held_out_prompts


def official(home: Path, *arguments: str) -> str:
    """Run the command with its settings in ``home``; all that it writes. It exits with 0 whatever happens."""
    command = [sys.executable, "-m", "litert_lm_cli.main", *arguments]
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout + done.stderr


def test_describe(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    said = " ".join(official(tmp_path, "describe", str(tiny_bundles["int8"])).split())
    assert "Text Backends: CPU Text Default Backend: CPU" in said
    assert "Speculative Decoding: YES" in said
    assert "Min Runtime Version: 0.15.0" in said


def test_run_with_mtp(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    """Its defaults: the bundle's backend, sampler and length."""
    (prompt,) = held_out_prompts(1)
    asked = [Conversation.asking(prompt)]
    expected = run_engine(EngineSettings(tiny_bundles["int8"], False, 500, threads=2), asked).texts[
        0
    ]
    options = ("--prompt", prompt, "--speculative-decoding", "true", "--cache", "no", "--verbose")
    said = official(tmp_path, "run", str(tiny_bundles["int8"]), *options)
    assert expected in said
    assert "MTP Drafter - Success rate: " in said
