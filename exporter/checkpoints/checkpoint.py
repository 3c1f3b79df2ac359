"""A Hugging Face checkpoint: which files it has and which tensors, and the adapter merged into it.

Only safetensors is read: a pickle can run code, and remote code is never loaded. Knows nothing about
what a tensor is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exporter.checkpoints.json_file import read_json
from exporter.checkpoints.packed_tensor import PackedTensor, packed_tensors
from exporter.checkpoints.source_folder import Download, locate
from exporter.checkpoints.stored_tensor import StoredTensor, read_directory
from exporter.checksum import sha256
from exporter.errors import CheckpointError, listed
from exporter.lora.adapter import Adapter, resolve_adapter
from exporter.progress import Advance

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "processor_config.json",
)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with ``config.json`` and safetensors weights.

    ``source`` is what the user named (a hub id or a path's last part) and ``revision`` the commit the
    files came from, if they came from the hub. ``packed`` are matrices stored as codes, by
    the name of their weight. An ``adapter`` is merged into the weights as they are read.
    """

    folder: Path
    source: str
    revision: str | None
    config: dict[str, Any]
    tensors: dict[str, StoredTensor]
    packed: Mapping[str, PackedTensor] = field(default_factory=dict)
    adapter: Adapter | None = None

    @property
    def ties_head(self) -> bool:
        """Whether the head is the embedding table, as it is unless the configuration says otherwise."""
        text = self.config.get("text_config")
        of_text = text.get("tie_word_embeddings") if isinstance(text, dict) else None
        return False not in (self.config.get("tie_word_embeddings"), of_text)

    @property
    def weight_files(self) -> list[Path]:
        return sorted({tensor.file for tensor in self.tensors.values()})

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """Shape of the tensor or packed matrix that ``name`` stands for; None if there is none."""
        if name in self.packed:
            return self.packed[name].shape
        tensor = self.tensors.get(name)
        return None if tensor is None else tensor.shape

    def source_files(self) -> list[Path]:
        """Every file an export reads: the weights, the small files beside them, and the adapter's."""
        beside = (self.folder / name for name in SMALL_FILES)
        merged = self.adapter.source_files() if self.adapter is not None else []
        return [*(path for path in beside if path.is_file()), *self.weight_files, *merged]

    def text_file(self, name: str) -> str | None:
        """Contents of a small text file of the checkpoint, or None if there is no such file."""
        path = self.folder / name
        try:
            return path.read_text(encoding="utf-8") if path.is_file() else None
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: expected UTF-8 text ({error})") from error

    def json_file(self, name: str) -> dict[str, Any] | None:
        """A small JSON object of the checkpoint, or None if there is no such file."""
        return read_json(self.folder / name) if (self.folder / name).is_file() else None


def open_checkpoint(
    folder: Path, source: str | None = None, revision: str | None = None
) -> Checkpoint:
    """Read a checkpoint's config and tensor directory; no weights are read.

    Raises:
        CheckpointError: Files are missing, truncated or inconsistent, or the weights are pickled.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: expected a checkpoint folder, found none")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: expected a config.json beside the weights, found none")
    config = read_json(folder / "config.json")
    tensors: dict[str, StoredTensor] = {}
    for file in _weight_files(folder):
        tensors.update(read_directory(file))
    packed = packed_tensors(config, tensors, str(folder))
    return Checkpoint(folder, source or folder.resolve().name, revision, config, tensors, packed)


def _weight_files(folder: Path) -> list[Path]:
    if (
        folder / SINGLE
    ).is_file():  # as in transformers, before an index that may be an older one's
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        weight_map = read_json(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{folder / INDEX}: expected a weight_map, found {weight_map!r}")
        files = [folder / str(name) for name in sorted({str(name) for name in weight_map.values()})]
        if missing := [file.name for file in files if not file.is_file()]:
            raise CheckpointError(
                f"{folder}: {INDEX} names shards that are missing: {', '.join(missing)}; "
                "download the checkpoint again"
            )
        return files
    if files := sorted(folder.glob("*.safetensors")):
        return files
    if pickled := sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES):
        raise CheckpointError(
            f"{folder}: expected safetensors weights, found only pickled ones ({pickled[0]}), which "
            "can run code when read; save the model again with safe_serialization=True"
        )
    raise CheckpointError(f"{folder}: expected {SINGLE} or {INDEX}, found neither")


def resolve(
    name: str, revision: str | None, download: Download, adapter: str | None = None
) -> Checkpoint:
    """Open a local folder, or download a hub id first (see :func:`locate`).

    Args:
        name: A path or a hub id.
        revision: Branch, tag or commit on the hub; None for the default branch.
        download: How a hub id is fetched.
        adapter: Path or hub id of a LoRA adapter to merge into the weights.

    Raises:
        CheckpointError: Neither a folder nor a hub id, or what is there cannot be read.
    """
    found = locate(name, revision, download)
    checkpoint = open_checkpoint(found.folder, found.source, found.revision)
    if adapter is None:
        return checkpoint
    return replace(checkpoint, adapter=resolve_adapter(adapter, download))


def hash_files(files: list[Path], advance: Advance) -> dict[str, str]:
    """SHA-256 of each file by its name; ``advance`` is told of every block of bytes hashed."""
    return {file.name: sha256(file, advance) for file in files}


def require(checkpoint: Checkpoint, wanted: dict[str, tuple[int, ...]]) -> None:
    """Check that every wanted tensor is there with its shape.

    Raises:
        CheckpointError: Listing every tensor that is missing or has another shape.
    """
    problems = []
    for name, shape in wanted.items():
        found = checkpoint.shape_of(name)
        if found is None:
            problems.append(f"{name} is missing, expected shape {list(shape)}")
        elif found != shape:
            problems.append(f"{name} has shape {list(found)}, expected {list(shape)}")
    if problems:
        raise CheckpointError(f"{checkpoint.folder}: {listed(problems)}")
