"""Reading a ``.litertlm`` file: its header, its sections, its manifest.

Only the header is parsed; sections are handed out as views of the mapped file. Works on any
``.litertlm`` file, not only on those made here.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litert_lm_builder import litertlm_core
from litert_lm_builder import litertlm_header_schema_py_generated as schema
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.bundle.flatbuffer import Flatbuffer, Table
from exporter.bundle.layout import (
    ACTIVATIONS_METADATA,
    DRAFT_ROUND_VALUE,
    GRAPH_BYTES_KEY,
    LABEL_KEY,
    MANIFEST_VALUE,
)
from exporter.bundle.manifest_shape import check_manifest
from exporter.contract.names import Section
from exporter.errors import BundleError
from exporter.json_text import JsonError, parse_json
from exporter.path_kind import kind_of

MAGIC = litertlm_core.HEADER_MAGIC_BYTES
SUPPORTED_MAJOR = litertlm_core.LITERTLM_MAJOR_VERSION
HEADER_BEGIN = litertlm_core.HEADER_BEGIN_BYTE_OFFSET
HEADER_END_FIELD = litertlm_core.HEADER_END_LOCATION_BYTE_OFFSET
HEADER_LIMIT = 16 * 1024 * 1024

TOKENIZER_LIMIT = 256 * 1024 * 1024
"""Bytes of a tokenizer.json; Gemma 4's has 32 MB."""

DATA_TYPES = litertlm_core.SECTION_DATA_TYPE_TO_STRING_MAP
"""Names of the types of sections, by number."""

TEXT = schema.VData.StringValue
NUMBERS = {
    schema.VData.UInt8: "<B", schema.VData.Int8: "<b", schema.VData.UInt16: "<H",
    schema.VData.Int16: "<h", schema.VData.UInt32: "<I", schema.VData.Int32: "<i",
    schema.VData.UInt64: "<Q", schema.VData.Int64: "<q", schema.VData.Float32: "<f",
    schema.VData.Double: "<d", schema.VData.Bool: "<?",
}  # fmt: skip
"""Types of values in the header, as the struct module has them."""

DIGITS = re.compile("[1-9][0-9]{0,18}")
"""Of a length."""

TFLITE_MODEL = "TFLiteModel"
LLM_METADATA = "LlmMetadataProto"
HF_TOKENIZER = "HF_Tokenizer_Zlib"


@dataclass(frozen=True)
class BundleSection:
    """One section: its data type, the metadata attached to it, and where it lies."""

    data_type: str
    metadata: dict[str, Any]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.begin

    @property
    def model_type(self) -> str | None:
        return self.metadata.get("model_type")

    @property
    def label(self) -> str | None:
        """What is in a section of generic binary data that this project wrote."""
        return self.metadata.get(LABEL_KEY)

    @property
    def activations(self) -> str | None:
        """What the engine is asked to compute a model section with on a GPU, if it is asked."""
        return self.metadata.get(ACTIVATIONS_METADATA)

    @property
    def graph_bytes(self) -> int:
        """Where the weights of a model section begin, or its length if that is not noted."""
        return int(self.metadata.get(GRAPH_BYTES_KEY, self.nbytes))


@dataclass(frozen=True)
class Bundle:
    """The header of a bundle. Open its contents with :meth:`mapped`."""

    path: Path
    version: str
    system_metadata: dict[str, Any]
    sections: tuple[BundleSection, ...]

    def model(self, section: Section) -> BundleSection | None:
        """The model section of this kind, if the bundle has one."""
        return next((s for s in self.sections if s.model_type == section.value), None)

    @property
    def draft_round(self) -> BundleSection | None:
        """The graph of a draft round, which has its weights in other sections; older bundles have none."""
        marked = (s for s in self.sections if s.label == DRAFT_ROUND_VALUE)
        return next(marked, None)

    @contextmanager
    def mapped(self) -> Iterator[memoryview]:
        """The whole file, mapped read-only."""
        with (
            self.path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapping,
            memoryview(mapping) as view,
        ):
            yield view

    def read(self, section: BundleSection) -> bytes:
        """Contents of a (small) section."""
        with self.path.open("rb") as stream:
            stream.seek(section.begin)
            return stream.read(section.nbytes)

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None in a bundle made by another tool.

        Raises:
            BundleError: The manifest's section is damaged.
        """
        for section in self.sections:
            if section.label == MANIFEST_VALUE:
                try:
                    manifest = parse_json(self.read(section))
                except JsonError as error:
                    raise BundleError(
                        f"{self.path}: the manifest is damaged: expected JSON, found {error}"
                    ) from error
                return check_manifest(manifest, self.path)
        return None

    def llm_metadata(self) -> Any:
        """The engine's ``LlmMetadata`` message.

        Raises:
            BundleError: The bundle has none, or it is damaged.
        """
        section = self._only(LLM_METADATA, "LLM metadata")
        message = llm_metadata_pb2.LlmMetadata()
        try:
            message.ParseFromString(self.read(section))
        except Exception as error:  # protobuf's error type depends on its backend
            raise BundleError(f"{self.path}: the LLM metadata is damaged ({error})") from error
        return message

    def tokenizer_json(self) -> bytes:
        """The Hugging Face ``tokenizer.json``.

        Raises:
            BundleError: The bundle has none, or it is damaged.
        """
        packed = self.read(self._only(HF_TOKENIZER, "Hugging Face tokenizer"))
        length = int.from_bytes(packed[:8], "little")
        if length > TOKENIZER_LIMIT:
            raise BundleError(
                f"{self.path}: expected a tokenizer of at most {TOKENIZER_LIMIT} bytes, found one of {length}"
            )
        try:
            content = zlib.decompressobj().decompress(packed[8:], length + 1)
        except zlib.error as error:
            raise BundleError(f"{self.path}: the tokenizer is damaged ({error})") from error
        if len(content) != length:
            raise BundleError(f"{self.path}: the tokenizer is damaged (its length is wrong)")
        return content

    def _only(self, data_type: str, what: str) -> BundleSection:
        found = [section for section in self.sections if section.data_type == data_type]
        if len(found) != 1:
            raise BundleError(
                f"{self.path}: expected one section with a {what}, found {len(found)}"
            )
        return found[0]


def open_bundle(path: Path) -> Bundle:
    """Parse and check the header of a bundle.

    Raises:
        BundleError: Not a ``.litertlm`` file, of another major version, truncated or damaged; or it
            cannot be read.
    """
    try:
        return _read_header(path)
    except OSError as error:
        raise BundleError(f"{path}: the file cannot be read: {error.strerror}") from error


def _read_header(path: Path) -> Bundle:
    if not path.is_file():
        raise BundleError(kind_of(path).instead_of("a .litertlm bundle"))
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(HEADER_BEGIN)
        if start[: len(MAGIC)] != MAGIC:
            expected = f"a .litertlm bundle, which begins with {MAGIC.decode()}"
            raise BundleError(kind_of(path).instead_of(expected))
        if len(start) < HEADER_BEGIN:
            raise BundleError(f"{path}: the bundle is truncated after {size} bytes")
        major, minor, patch = struct.unpack_from("<III", start, len(MAGIC))
        (end,) = struct.unpack_from("<Q", start, HEADER_END_FIELD)
        if major != SUPPORTED_MAJOR:
            raise BundleError(
                f"{path}: expected format version {SUPPORTED_MAJOR}.x, found {major}.{minor}.{patch}"
            )
        if not HEADER_BEGIN < end <= min(size, HEADER_LIMIT):
            raise BundleError(
                f"{path}: the header would end at byte {end} of {size}: the file is damaged"
            )
        header = stream.read(end - HEADER_BEGIN)
    parsed = Flatbuffer(header, f"{path}: the header").root()
    objects, entries = parsed.table(1), parsed.table(0)
    if objects is None or entries is None:
        raise parsed.source.damaged("it lists no sections" if entries else "it has no entries")
    sections = tuple(map(_section, objects.tables(0)))
    system = _metadata(entries)
    for section in sections:
        if not end <= section.begin <= section.end:
            raise BundleError(f"{path}: the header is damaged (a section at {section.begin})")
        if section.end > size:
            raise BundleError(
                f"{path}: truncated: its {section.model_type or section.data_type} section ends at byte "
                f"{section.end}, the file at {size}; copy or export it again"
            )
    return Bundle(path, f"{major}.{minor}.{patch}", system, sections)


def _section(entry: Table) -> BundleSection:
    """A section: its metadata, where it begins and ends, and its type."""
    kind = int(entry.number(3, "<B"))
    if kind not in DATA_TYPES:
        raise entry.source.damaged(f"a section's type is {kind}")
    begin, end = int(entry.number(1, "<Q")), int(entry.number(2, "<Q"))
    section = BundleSection(DATA_TYPES[kind], _metadata(entry), begin, end)
    told = section.metadata.get(GRAPH_BYTES_KEY)
    if told is not None and not (DIGITS.fullmatch(str(told)) and int(told) <= section.nbytes):
        raise entry.source.damaged(f"a graph of {told!r} bytes in a section of {section.nbytes}")
    return section


def _metadata(owner: Table) -> dict[str, Any]:
    return {entry.text(0): _value(entry) for entry in owner.tables(0)}


def _value(entry: Table) -> Any:
    """The value of one header entry: a union of one-field tables."""
    kind, table = int(entry.number(1, "<B")), entry.table(2)
    if table is None or (kind not in NUMBERS and kind != TEXT):
        raise entry.source.damaged(f"a value's type is {kind}")
    return table.text(0) if kind == TEXT else table.number(0, NUMBERS[kind])
