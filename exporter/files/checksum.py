"""SHA-256 of files."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from exporter.progress import Advance

BLOCK_BYTES = 4 * 1024 * 1024


def sha256(
    path: Path, advance: Advance = lambda _: None, begin: int = 0, nbytes: int = sys.maxsize
) -> str:
    """SHA-256 of a file's content or of so many bytes of it; ``advance`` is told of every block.

    Read, not mapped: mapped pages would count as memory in use.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(begin)
        while block := stream.read(min(BLOCK_BYTES, nbytes)):
            digest.update(block)
            advance(len(block))
            nbytes -= len(block)
    return digest.hexdigest()
