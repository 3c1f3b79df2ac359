"""Memory does not grow with the answers: they are read in shards, and their features stay on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pairs import Pair

pytestmark = pytest.mark.slow

FEW, MANY = 100, 500

GROWTH = 16e6
"""Bytes that the allocator may keep; 400 more answers (20,000 tokens) read at once take 40 MB."""


def test_memory_is_that_of_few_answers(pairs: dict[str, Pair], tmp_path: Path) -> None:
    folders = pairs["e2b"]
    command = [
        sys.executable,
        "-m",
        "tests.tune.memory_run",
        folders.target,
        folders.drafter,
        tmp_path,
    ]
    done = subprocess.run(
        [*map(str, command), str(FEW), str(MANY)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many - few < GROWTH, f"{few:,} bytes, then {many:,}"
