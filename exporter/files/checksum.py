"""SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from exporter.progress import Advance

BLOCK_BYTES = 4 * 1024 * 1024


def sha256(path: Path, advance: Advance = lambda _: None) -> str:
    """SHA-256 of a file's content, hexadecimal; ``advance`` is told of every block of bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()
