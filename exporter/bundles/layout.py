"""What writer and reader of a bundle agree on beyond the format itself."""

from __future__ import annotations

MANIFEST_KEY = "content"
MANIFEST_VALUE = "mtp_export_manifest"
"""Metadata by which the manifest's section is found among generic binary ones."""

MANIFEST_BLOCKS = frozenset(
    {"manifest_version", "sources", "recipe", "options", "contract", "graphs", "weights", "tools"}
)
"""Top-level keys of a manifest."""

SHA256_KEY = "sha256"
"""Key of a section's checksum, hexadecimal, in the section's header metadata."""

GRAPH_SHA256_KEY = "graph_sha256"
GRAPH_BYTES_KEY = "graph_bytes"
"""Keys, on a model section, of the checksum of its first bytes alone: the graph, which lies before the
weights. Damage there may crash a runtime, and it is small enough to be looked at every time."""

VOLATILE_FIELDS = ("uuid", "creation_timestamp")
"""Header fields that differ between two exports of the same input."""
