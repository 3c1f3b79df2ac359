"""The folder that an ONNX export writes, read back.

One model per signature, weights beside them, and what a runtime needs to turn text into tokens:

    manifest.json  llm_metadata.json  tokenizer.json
    prefill_<T>.onnx  decode.onnx  verify.onnx  mtp_drafter.onnx  embedder.onnx  per_layer_embedder.onnx
    target.data  drafter.data

The manifest has the blocks of a bundle's, and the SHA-256 of every other file. This module does not know
what is inside a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.bundle.manifest_shape import check_manifest
from exporter.bundle.stored_contract import stored_contract
from exporter.contract.text import Contract
from exporter.errors import BundleError, listed
from exporter.files.checksum import sha256
from exporter.json_text import JsonError, parse_json
from exporter.path_kind import MANIFEST, Kind, kind_of
from exporter.regular_file import require_file

METADATA = "llm_metadata.json"
TOKENIZER = "tokenizer.json"
MODEL_SUFFIX = ".onnx"
DATA_SUFFIX = ".data"

FILES = "files"
"""The manifest's block of checksums, by file name."""


@dataclass(frozen=True)
class OnnxFolder:
    """An exported folder. Its files have been listed; their contents have not been read."""

    path: Path
    content: dict[str, Any]

    def manifest(self) -> dict[str, Any]:
        """How the folder was made."""
        return self.content

    def contract(self) -> Contract:
        """Shapes and names of every signature.

        Raises:
            BundleError: It is of another version, or damaged.
        """
        return stored_contract(self.path, self.content)

    def model(self, signature: str) -> Path:
        """The file of a signature."""
        return self.path / (signature + MODEL_SUFFIX)

    def llm_metadata(self) -> Any:
        """The ``LlmMetadata`` message, as a bundle holds it.

        Raises:
            BundleError: It is damaged.
        """
        try:
            value = parse_json(require_file(self.path / METADATA).read_bytes())
            return json_format.ParseDict(value, llm_metadata_pb2.LlmMetadata())
        except Exception as error:  # ParseDict raises whatever it hits in a value that is no object
            raise BundleError(f"{self.path}: {METADATA} is damaged ({error})") from error

    def tokenizer_json(self) -> bytes:
        """The Hugging Face ``tokenizer.json``."""
        return require_file(self.path / TOKENIZER).read_bytes()

    def damage(self, *, weights: bool) -> list[str]:
        """A sentence for each file that is not as it was exported; weights are read only if asked to."""
        return [
            f"{name} is missing or has another checksum"
            for name, digest in self.content[FILES].items()
            if not self._has(name)
            or ((weights or not name.endswith(DATA_SUFFIX)) and sha256(self.path / name) != digest)
        ]

    def _has(self, name: str) -> bool:
        """Whether a file is there, in this folder and not in another."""
        try:
            return Path(name).name == name and (self.path / name).is_file()
        except OSError:  # longer than any name
            return False

    def check_files(self, *, weights: bool) -> None:
        """Compare checksums; of the weights, which take a second or so per GB, only if asked to.

        Raises:
            BundleError: Files differ or are missing; all of them are named.
        """
        if damage := self.damage(weights=weights):
            raise BundleError(
                f"{self.path}: damaged; copy or export the folder again: {listed(damage)}"
            )


def open_folder(path: Path) -> OnnxFolder:
    """Read a folder's manifest.

    Raises:
        BundleError: It is not such a folder, or of another version of this tool.
    """
    if (found := kind_of(path)).kind is not Kind.ONNX_EXPORT:
        raise BundleError(found.instead_of("a folder made by mtp-export export --format onnx"))
    try:
        content = parse_json((path / MANIFEST).read_bytes())
    except (OSError, JsonError) as error:
        raise BundleError(
            f"{path / MANIFEST}: expected the manifest of export --format onnx, found something else "
            f"({error})"
        ) from error
    return OnnxFolder(path, check_manifest(content, path, FILES))
