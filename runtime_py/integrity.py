"""Whether a bundle's bytes are those that were exported.

Compares the sections with the SHA-256 that the exporter stores beside each of them in the header. A
section without one (an older bundle, another tool's) is taken on trust.
"""

from __future__ import annotations

import hashlib

from exporter.bundles.layout import GRAPH_BYTES_KEY, GRAPH_SHA256_KEY, SHA256_KEY
from exporter.bundles.reader import Bundle, BundleSection
from exporter.errors import BundleError, listed

CHUNK = 1 << 22  # bytes


def check_sections(bundle: Bundle, *, weights: bool) -> None:
    """Compare checksums.

    Args:
        bundle: The header.
        weights: Include the weights, which takes a second or so per GB.

    Raises:
        BundleError: Some section differs; all of them are named.
    """
    damaged = [
        f"the {section.model_type or section.label or section.data_type} section"
        for section in bundle.sections
        if not _intact(bundle, section, weights=weights)
    ]
    if damaged:
        raise BundleError(
            f"{bundle.path}: damaged: {listed(damaged)} does not have the checksum it was exported "
            "with; copy or export it again"
        )


def _intact(bundle: Bundle, section: BundleSection, *, weights: bool) -> bool:
    known = section.metadata
    if (weights or section.model_type is None) and SHA256_KEY in known:
        return _sha256(bundle, section, section.nbytes) == str(known[SHA256_KEY])
    if GRAPH_SHA256_KEY in known:
        nbytes = int(known[GRAPH_BYTES_KEY])
        return _sha256(bundle, section, nbytes) == str(known[GRAPH_SHA256_KEY])
    return True


def _sha256(bundle: Bundle, section: BundleSection, nbytes: int) -> str:
    """Of the section's first bytes. Read, not mapped: mapped pages would count as memory in use."""
    digest = hashlib.sha256()
    with bundle.path.open("rb") as stream:
        stream.seek(section.begin)
        left = nbytes
        while left and (chunk := stream.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()
