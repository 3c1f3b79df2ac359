"""Whether files that were downloaded from the hub are those that the hub has.

Its library keeps a file under the checksum that the hub names, and never computes it. Large files are kept by
their SHA-256, which an export computes anyway; small ones by the SHA-1 that git has for them. Some mirrors
name files, large ones too, by the SHA-1 of their content. Where the cache has no links (on Windows, often)
nothing is known of any.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from exporter.errors import CheckpointError, listed

BLOBS = "blobs"
"""The cache's folder of contents."""

SHA256, SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")

LARGEST_SMALL = 1 << 24
"""Bytes; the hub has no larger file in git itself, only a mirror names one by a SHA-1."""


def check_small_files(folder: Path) -> None:
    """Compare the small files of a snapshot.

    Raises:
        CheckpointError: Naming those that differ.
    """
    kept = {file: name for file in sorted(folder.rglob("*")) if (name := _kept_as(file))}
    refuse_damaged(
        [file for file, name in kept.items() if SHA1.fullmatch(name) and _is_damaged(file, name)]
    )


def differs(file: Path, sha256: str) -> bool:
    """Whether the cache keeps a file by another SHA-256 than it has."""
    name = _kept_as(file)
    return name is not None and SHA256.fullmatch(name) is not None and name != sha256


def refuse_damaged(files: list[Path]) -> None:
    """Refuse downloads that are not what the hub has.

    Raises:
        CheckpointError: There are some.
    """
    if files:
        where = [f"{file.resolve()} ({file.name})" for file in files]
        raise CheckpointError(
            "downloaded files do not have the checksums that the hub names, so they are damaged; delete "
            f"them and run it again: {listed(where)}"
        )


def _kept_as(file: Path) -> str | None:
    """The name of what a link into the cache leads to; None for other files."""
    if not file.is_symlink():
        return None
    content = file.resolve()
    return content.name if content.parent.name == BLOBS and content.is_file() else None


def _is_damaged(file: Path, name: str) -> bool:
    """Whether a small file has another SHA-1 than its name, both as git computes it and of its content."""
    if file.stat().st_size > LARGEST_SMALL:
        return False
    content = file.read_bytes()
    forms = (b"blob %d\0%s" % (len(content), content), content)
    return name not in {hashlib.sha1(form, usedforsecurity=False).hexdigest() for form in forms}
