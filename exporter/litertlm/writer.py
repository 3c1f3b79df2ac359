"""Packing sections into one ``.litertlm`` file, with the format's own builder.

Knows the sections' order, the engine's metadata and where the manifest goes; knows nothing about
what is inside a graph.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litert_lm_builder.litertlm_builder import DType, LitertLmFileBuilder, Metadata, TfLiteModelType

from exporter.bundle.graph_reader import GraphReader
from exporter.bundle.layout import (
    ACTIVATIONS_METADATA,
    DRAFT_ROUND_SECTIONS,
    DRAFT_ROUND_VALUE,
    GRAPH_BYTES_KEY,
    GRAPH_SHA256_KEY,
    LABEL_KEY,
    MANIFEST_VALUE,
    READS_KEY,
    SHA256_KEY,
)
from exporter.checkpoints.assets.assets import Assets
from exporter.contract.media import TEXT_ONLY, Media
from exporter.contract.names import DRAFT_ROUND, Accelerator, Section
from exporter.contract.text import Contract
from exporter.files.checksum import sha256
from exporter.litertlm.stamp import build_stamped
from exporter.llm_metadata import llm_metadata
from exporter.manifest import stored_activations

BUNDLE = "bundle"
"""What is made, within the scratch folder."""

ON_CPU = frozenset(
    {
        Section.VISION_ADAPTER,
        Section.END_OF_VISION,
        Section.AUDIO_ADAPTER,
        Section.END_OF_AUDIO,
    }
)
"""What never runs on a GPU: what follows an encoder is small, and the engine keeps it on the CPU."""

COMPUTED = frozenset({Section.PREFILL_DECODE, Section.MTP_DRAFTER})
"""What ``--activations`` is about."""


def backends(section: Section, accelerator: Accelerator) -> tuple[Accelerator, ...]:
    """What the engine may run a section on, in a bundle for ``accelerator``.

    The graph of the audio encoder is the same for both, and many apps give sound to the CPU always.
    """
    if section in ON_CPU:
        return (Accelerator.CPU,)
    if section is Section.AUDIO_ENCODER:
        return tuple(dict.fromkeys((Accelerator.CPU, accelerator)))
    return (accelerator,)


def _activations(section: Section, manifest: Mapping[str, Any]) -> list[Metadata]:
    """What the engine is asked to compute a section with, if it is asked.

    It reads the target's, and computes the drafter with the same (0.18.1); encoders stay in float32.
    """
    activations = stored_activations(manifest)
    if activations is None or section not in COMPUTED:
        return []
    return [_text(ACTIVATIONS_METADATA, activations.value)]


def checksum(path: Path) -> Metadata:
    """SHA-256 of a section that is written as it is."""
    return _text(SHA256_KEY, sha256(path))


def graph_checksums(path: Path) -> list[Metadata]:
    """SHA-256 and length of a model's graph, which ends where its weights begin."""
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapping,
        memoryview(mapping) as content,  # released before the mapping is closed, also on Ctrl-C
    ):
        nbytes = GraphReader(content, str(path)).graph_bytes()
        digest = hashlib.sha256(mapping[:nbytes]).hexdigest()
    return [_text(GRAPH_SHA256_KEY, digest), _text(GRAPH_BYTES_KEY, str(nbytes))]


def _text(key: str, value: str) -> Metadata:
    return Metadata(key, value, DType.STRING)


def write_bundle(
    scratch: Path,
    assets: Assets,
    contract: Contract,
    manifest: Mapping[str, Any],
    media: Media = TEXT_ONLY,
) -> Path:
    """Pack everything into one file in ``scratch``; returns it.

    Args:
        scratch: Holds the bound graphs, each in a file of its section's name.
        assets: Tokenizer, template and token ids.
        contract: Of the graphs: the length of the caches and what runs them.
        manifest: JSON object that says how the bundle was made.
        media: What the sections for pictures and sound take.
    """
    metadata = scratch / "llm_metadata.pb"
    metadata.write_bytes(
        llm_metadata(assets, contract, media).SerializeToString(deterministic=True)
    )
    made = scratch / "manifest.json"
    made.write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    builder = LitertLmFileBuilder()
    builder.add_system_metadata(_text("Authors", "mtp-export"))
    builder.add_llm_metadata(str(metadata), [checksum(metadata)])
    builder.add_hf_tokenizer(str(assets.tokenizer.file(scratch)))  # its zlib stream has a checksum
    _add_data(builder, made, _text(LABEL_KEY, MANIFEST_VALUE))
    sums: dict[Section, str] = {}
    for section in (*contract.section_signatures(), *media.section_signatures()):
        path = scratch / section.value
        sums[section] = sha256(path)
        builder.add_tflite_model(
            str(path),
            TfLiteModelType(section.value),
            backend_constraint=",".join(backends(section, contract.accelerator)),
            additional_metadata=[
                _text(SHA256_KEY, sums[section]),
                *graph_checksums(path),
                *_activations(section, manifest),
            ],
        )
    draft_round = scratch / DRAFT_ROUND
    if draft_round.exists():
        reads = " ".join(sums[section] for section in DRAFT_ROUND_SECTIONS)
        _add_data(
            builder, draft_round, _text(LABEL_KEY, DRAFT_ROUND_VALUE), _text(READS_KEY, reads)
        )
    build_stamped(builder, scratch / BUNDLE)
    return scratch / BUNDLE


def _add_data(builder: LitertLmFileBuilder, path: Path, *described: Metadata) -> None:
    """Add a section that no engine looks into."""
    builder.add_generic_binary_data(str(path), [*described, checksum(path)])
