"""A bundle with few and small sections, any of which can be exchanged; its checksums are then made right.

The sections are those of the bundle that ships for rendering templates (``exporter/templates/probe.py``):
text side, manifest, embedder. So inputs of the fuzzer are sections, and do not grow stale with the graphs.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from litert_lm_builder.litertlm_builder import DType, LitertLmFileBuilder, Metadata, TfLiteModelType
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.bundle.graph_reader import GraphReader
from exporter.bundle.layout import (
    BLOCK,
    GRAPH_BYTES_KEY,
    GRAPH_SHA256_KEY,
    LABEL_KEY,
    MANIFEST_VALUE,
    SHA256_KEY,
)
from exporter.bundle.reader import HF_TOKENIZER, LLM_METADATA, Bundle, BundleSection, open_bundle
from exporter.contract.names import Section
from exporter.templates.probe import unpack_probe
from fuzzing.checkpoint_targets import small_tokenizer

HEADER, METADATA, TOKENIZER = "header.bin", "metadata.pb", "tokenizer.json"
MANIFEST, GRAPH = "manifest.json", "embedder.tflite"
"""The parts: how sections are called as inputs."""

UNKNOWN_SUM = "0" * 64


@dataclass(frozen=True)
class SmallBundle:
    """The bundle's bytes, and what is exchanged in it."""

    content: bytes
    sections: Mapping[str, BundleSection]

    def parts(self) -> dict[str, bytes]:
        """The contents by part, the header's among them; the tokenizer's is what it unpacks to."""
        found = {part: self._of(section) for part, section in self.sections.items()}
        found[TOKENIZER] = small_tokenizer()
        begin = min(section.begin for section in self.sections.values())
        return found | {HEADER: self.content[:begin]}

    def _of(self, section: BundleSection) -> bytes:
        return self.content[section.begin : section.end]

    def with_part(self, part: str, content: bytes) -> bytes:
        """The bundle with another content of a part, at its end, where it has room."""
        if part == HEADER:
            return content + self.content[len(self.parts()[HEADER]) :]
        section = self.sections[part]
        if part == TOKENIZER:
            content = packed_tokenizer(content)
        begin = -(-len(self.content) // BLOCK) * BLOCK
        whole = bytearray(self.content.ljust(begin, b"\0") + content)
        offsets = struct.pack("<QQ", section.begin, section.end)
        _replace(whole, offsets[:8], struct.pack("<Q", begin))
        _replace(whole, offsets[8:], struct.pack("<Q", begin + len(content)))
        graph = int(section.metadata.get(GRAPH_BYTES_KEY, 0))
        for key, covered in ((SHA256_KEY, content), (GRAPH_SHA256_KEY, content[:graph])):
            if key in section.metadata:
                digest = hashlib.sha256(covered).hexdigest()
                _replace(whole, str(section.metadata[key]).encode(), digest.encode())
        return bytes(whole)


def _replace(whole: bytearray, old: bytes, new: bytes) -> None:
    at = whole.index(old)
    whole[at : at + len(old)] = new


def packed_tokenizer(content: bytes) -> bytes:
    """The section of a tokenizer: its length, then a zlib stream."""
    return len(content).to_bytes(8, "little") + zlib.compress(content, 1)


def small_bundle(accelerator: str) -> SmallBundle:
    """Make it; the manifest names what runs the graphs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        probe = open_bundle(unpack_probe(folder))
        path = folder / "small.litertlm"
        with path.open("wb") as stream:
            _builder(folder, probe, accelerator).build(stream, validate_metadata=True)
        made = open_bundle(path)
        return SmallBundle(path.read_bytes(), _sections(made))


def _sections(made: Bundle) -> dict[str, BundleSection]:
    embedder = made.model(Section.EMBEDDER)
    assert embedder is not None
    found = {GRAPH: embedder}
    for section in made.sections:
        if section.label == MANIFEST_VALUE:
            found[MANIFEST] = section
        elif section.data_type in (LLM_METADATA, HF_TOKENIZER):
            found[METADATA if section.data_type == LLM_METADATA else TOKENIZER] = section
    return found


def _builder(folder: Path, probe: Bundle, accelerator: str) -> LitertLmFileBuilder:
    manifest = probe.manifest()
    assert manifest is not None
    manifest["contract"]["accelerator"] = accelerator
    manifest["weights"] = {s: dict(list(w.items())[:4]) for s, w in manifest["weights"].items()}
    message: llm_metadata_pb2.LlmMetadata = probe.llm_metadata()
    embedder = probe.model(Section.EMBEDDER)
    assert embedder is not None
    contents = {
        METADATA: message.SerializeToString(deterministic=True),
        TOKENIZER: small_tokenizer(),
        MANIFEST: json.dumps(manifest).encode(),
        GRAPH: probe.read(embedder),
    }
    for part, content in contents.items():
        (folder / part).write_bytes(content)
    builder = LitertLmFileBuilder()
    builder.add_system_metadata(_text("Authors", "mtp-export"))
    builder.add_llm_metadata(str(folder / METADATA), [_sum(folder / METADATA)])
    builder.add_hf_tokenizer(str(folder / TOKENIZER))
    label = [_text(LABEL_KEY, MANIFEST_VALUE), _sum(folder / MANIFEST)]
    builder.add_generic_binary_data(str(folder / MANIFEST), label)
    graph_bytes = GraphReader(contents[GRAPH], "embedder").graph_bytes()
    graph_sum = hashlib.sha256(contents[GRAPH][:graph_bytes]).hexdigest()
    builder.add_tflite_model(
        str(folder / GRAPH),
        TfLiteModelType(Section.EMBEDDER.value),
        backend_constraint=accelerator,
        additional_metadata=[
            _sum(folder / GRAPH),
            _text(GRAPH_SHA256_KEY, graph_sum),
            _text(GRAPH_BYTES_KEY, str(graph_bytes)),
        ],
    )
    return builder


def _sum(path: Path) -> Metadata:
    return _text(SHA256_KEY, hashlib.sha256(path.read_bytes()).hexdigest())


def _text(key: str, value: str) -> Metadata:
    return Metadata(key, value, DType.STRING)
