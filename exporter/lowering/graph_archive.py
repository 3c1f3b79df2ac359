"""Graphs in a file: an archive of named entries with the versions of the packages that made them."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

RECORD = "record.json"

DAMAGE = (
    OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, KeyError,
)  # fmt: skip
"""What reading an archive can raise if there is none or it is damaged."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamped into the archives, so that equal graphs give equal files."""


@dataclass(frozen=True)
class GraphArchive:
    """Entries by name, and the versions of the packages that made them."""

    tools: Mapping[str, str]
    entries: Mapping[str, bytes]


def write_archive(path: Path, archive: GraphArchive) -> None:
    """Store an archive in one step, with the permissions that the user's other files have."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        made.write_bytes(_packed(archive))
        made.replace(path)


def _packed(archive: GraphArchive) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        packed.writestr(
            zipfile.ZipInfo(RECORD, EPOCH), json.dumps(dict(archive.tools), sort_keys=True)
        )
        for name, entry in archive.entries.items():
            packed.writestr(zipfile.ZipInfo(name, EPOCH), entry, zipfile.ZIP_DEFLATED, 9)
    return content.getvalue()


def read_archive(path: Path, wanted: Collection[str] | None = None) -> GraphArchive | None:
    """What an archive holds; None if there is none, or a damaged one (which is then replaced).

    Args:
        path: The archive.
        wanted: Names of entries; those that it has are read. None for all of them.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            names = [
                n for n in packed.namelist() if n != RECORD and (wanted is None or n in wanted)
            ]
            tools = json.loads(packed.read(RECORD))
            return GraphArchive(tools, {name: packed.read(name) for name in names})
    except DAMAGE:
        return None
