"""What writer and reader of a bundle agree on beyond the format itself."""

from __future__ import annotations

MANIFEST_KEY = "content"
MANIFEST_VALUE = "mtp_export_manifest"
"""Metadata by which the manifest's section is found among generic binary ones."""

VOLATILE_FIELDS = ("uuid", "creation_timestamp")
"""Header fields that differ between two exports of the same input."""
