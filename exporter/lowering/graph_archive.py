"""Graphs in a file: an archive of named entries, with their checksums and the versions of what made them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.files.output import scratch_folder
from exporter.json_text import parse_json

RECORD = "record.json"
TOOLS, SHA256 = "tools", "sha256"
"""In the record: versions by package, checksums by entry."""

LARGEST = 1 << 28
"""Bytes of an entry. E4B's largest has 2 MB."""

DAMAGE = (
    OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError,
    TypeError, LookupError, RuntimeError,
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
    with scratch_folder(path) as folder:
        made = folder / path.name
        made.write_bytes(_packed(archive))
        made.replace(path)


def _packed(archive: GraphArchive) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        sums = {name: _sha256(entry) for name, entry in archive.entries.items()}
        record = json.dumps({TOOLS: dict(archive.tools), SHA256: sums}, sort_keys=True)
        packed.writestr(zipfile.ZipInfo(RECORD, EPOCH), record)
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
            record = parse_json(_entry(packed, RECORD))
            if not isinstance(record, dict) or set(record) != {TOOLS, SHA256}:
                return None  # of an older version, or of somebody else
            entries = {name: _entry(packed, name) for name in names}
            intact = all(record[SHA256][name] == _sha256(entries[name]) for name in names)
            return GraphArchive(dict(record[TOOLS]), entries) if intact else None
    except DAMAGE:
        return None


def _entry(packed: zipfile.ZipFile, name: str) -> bytes:
    if packed.getinfo(name).file_size > LARGEST:
        raise ValueError(f"{name} is too large for a graph")
    return packed.read(name)


def _sha256(entry: bytes) -> str:
    return hashlib.sha256(entry).hexdigest()
