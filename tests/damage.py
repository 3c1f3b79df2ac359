"""Bundles with some bytes changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from exporter.bundle.layout import GRAPH_SHA256_KEY, SHA256_KEY
from exporter.bundle.reader import BundleSection, open_bundle


def damaged(bundle: Path, folder: Path, position: int, patch: bytes | None = None) -> Path:
    """A copy with a byte flipped, or with ``patch`` written, at ``position``."""
    content = bytearray(bundle.read_bytes())
    patch = patch if patch is not None else bytes([content[position] ^ 0xFF])
    content[position : position + len(patch)] = patch
    path = folder / "damaged.litertlm"
    path.write_bytes(content)
    return path


def rewritten(bundle: Path, folder: Path, section: BundleSection, patch: bytes) -> Path:
    """A copy whose ``section`` begins with ``patch``, with the checksums that go with it."""
    path = damaged(bundle, folder, section.begin, patch)
    section_bytes, content = open_bundle(path).read(section), path.read_bytes()
    for key, covered in ((SHA256_KEY, section.nbytes), (GRAPH_SHA256_KEY, section.graph_bytes)):
        if key in section.metadata:
            digest = hashlib.sha256(section_bytes[:covered]).hexdigest()
            content = content.replace(section.metadata[key].encode(), digest.encode())
    path.write_bytes(content)
    return path
