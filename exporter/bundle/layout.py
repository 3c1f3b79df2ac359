"""Keys, labels and places in a bundle that its writer and its readers agree on, beyond the format itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from exporter.contract.names import Section

LABEL_KEY = "content"
"""Metadata key that tells generic binary sections apart."""

MANIFEST_VALUE = "mtp_export_manifest"
"""The value of :data:`LABEL_KEY` on the manifest's section."""

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

ACTIVATIONS_METADATA = "prefer_activation_type"
"""Key, on a model section, of what the engine computes it with on a GPU unless the app says so; the format's
own."""

DRAFT_ROUND_VALUE = "mtp_export_draft_round"
"""The value of :data:`LABEL_KEY` on the graph of a draft round, which is generic binary data, so that no
engine compiles it."""

DRAFT_ROUND_SECTIONS = (Section.EMBEDDER, Section.MTP_DRAFTER)
"""The sections that hold the weights of the draft round's graph. Its offsets are right once these sections
stand behind it in this order, each on the next multiple of :data:`BLOCK`."""

READS_KEY = "reads_sha256"
"""Key, on the draft round's section, of those sections' checksums, with a space between them."""

BLOCK = 1 << 14
"""Bytes; sections of a bundle begin on a multiple of it, so they can be mapped side by side."""


def side_by_side(graph: int, lengths: Sequence[int]) -> list[int]:
    """Where regions of ``lengths`` begin behind a graph of so many bytes: each on the next whole block."""
    return list(accumulate((_blocks(length) for length in lengths[:-1]), initial=_blocks(graph)))


def _blocks(nbytes: int) -> int:
    return -(-nbytes // BLOCK) * BLOCK
