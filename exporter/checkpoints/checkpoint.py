"""A Hugging Face checkpoint: which files it has and which tensors, and the adapter merged into it.

Only safetensors is read: a pickle can run code, and remote code is never loaded. This module does not know
what a tensor is for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exporter.checkpoints.hub_sums import differs, refuse_damaged
from exporter.checkpoints.json_file import content_of, is_there, read_json
from exporter.checkpoints.lora.adapter import Adapter, open_adapter
from exporter.checkpoints.named_target import locate_target
from exporter.checkpoints.source_folder import Download
from exporter.checkpoints.tensors.packed_tensor import PackedTensor, packed_tensors
from exporter.checkpoints.tensors.quantisation import remarks_on_quantisation
from exporter.checkpoints.tensors.stored_tensor import StoredTensor, read_tensors, refuse_empty
from exporter.errors import CheckpointError, listed
from exporter.files.checksum import sha256
from exporter.path_kind import CONFIG, Kind, kind_of
from exporter.progress import Advance

GENERATION, TOKENIZER_SETTINGS = "generation_config.json", "tokenizer_config.json"
PROCESSOR, PREPROCESSOR = "processor_config.json", "preprocessor_config.json"
TEMPLATE, TEMPLATE_SETTINGS = "chat_template.jinja", ("chat_template.json", PROCESSOR)
SMALL_FILES = (
    CONFIG,
    GENERATION,
    "tokenizer.json",
    TOKENIZER_SETTINGS,
    TEMPLATE,
    *TEMPLATE_SETTINGS,
    PREPROCESSOR,
)
"""What is read of a checkpoint besides weights."""

TEMPLATES = "additional_chat_templates"

TUNING = "tuning.json"
"""What `mtp-export tune` says of a drafter that it made."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with ``config.json`` and safetensors weights.

    ``source`` is what the user named (a hub id or a path's last part) and ``revision`` the commit the
    files came from, if they came from the hub. ``packed`` are matrices stored as codes, by
    the name of their weight. An ``adapter`` is merged into the weights as they are read, and its tokenizer
    and template, which it was trained with, take the place of the checkpoint's. ``remarks`` are about
    what was found and put right.
    """

    folder: Path
    source: str
    revision: str | None
    config: dict[str, Any]
    tensors: dict[str, StoredTensor]
    packed: Mapping[str, PackedTensor] = field(default_factory=dict)
    adapter: Adapter | None = None
    remarks: tuple[str, ...] = ()

    @property
    def ties_head(self) -> bool:
        """Whether the head is the embedding table, as it is unless the configuration says otherwise.

        The head is no part of the text model, whose ``text_config`` transformers does not ask about it.
        """
        return self.config.get("tie_word_embeddings") is not False

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
        beside = [self.small_file(name) for name in SMALL_FILES]
        beside += self.additional_templates()
        merged = self.adapter.source_files() if self.adapter is not None else []
        return [*(path for path in beside if is_there(path)), *self.weight_files, *merged]

    def additional_templates(self) -> list[Path]:
        """Chat templates that transformers keeps in a folder; those of an adapter that has any template."""
        owner = self.small_file(TEMPLATE).parent
        if self.adapter is not None and (self.adapter.folder / TEMPLATES).is_dir():
            owner = self.adapter.folder
        return sorted((owner / TEMPLATES).glob("*.jinja"))

    def small_file(self, name: str) -> Path:
        """Where a small file is, if there is one: in the adapter's folder or, else, in the checkpoint's."""
        if self.adapter is None or name == CONFIG:
            return self.folder / name
        own = self.adapter.folder / name
        if is_there(own) or (name == TEMPLATE and self._template_in_settings(own.parent)):
            return own
        return self.folder / name

    @staticmethod
    def _template_in_settings(folder: Path) -> bool:
        """Whether a tokenizer was saved with its template inside its settings, as it was before 2025."""
        settings = folder / TOKENIZER_SETTINGS
        return is_there(settings) and bool(read_json(settings).get("chat_template"))

    def notes(self) -> list[str]:
        """What a user should be told of the checkpoint and its adapter, one sentence each."""
        of_adapter = self.adapter.notes(self.source) if self.adapter is not None else []
        return [*self.remarks, *of_adapter]

    def taken_from_adapter(self) -> list[str]:
        """Names of the small files that are the adapter's and not the checkpoint's."""
        found = [self.small_file(name) for name in SMALL_FILES]
        return [path.name for path in found if path.parent != self.folder and is_there(path)]

    def text_file(self, name: str | Path) -> str | None:
        """Contents of a small text file of the checkpoint, or None if there is no such file."""
        path = name if isinstance(name, Path) else self.small_file(name)
        try:
            return content_of(path).decode() if is_there(path) else None
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: expected UTF-8 text ({error})") from error

    def tuning(self) -> dict[str, Any] | None:
        """How `mtp-export tune` made this drafter; None if it did not."""
        path = self.folder / TUNING
        return read_json(path) if is_there(path) else None

    def json_file(self, name: str) -> dict[str, Any] | None:
        """A small JSON object of the checkpoint, or None if there is no such file."""
        path = self.small_file(name)
        return read_json(path) if is_there(path) else None


def open_checkpoint(
    folder: Path, source: str | None = None, revision: str | None = None
) -> Checkpoint:
    """Read a checkpoint's config and tensor directory; no weights are read.

    Raises:
        CheckpointError: The folder is something else, or files are missing, truncated or inconsistent.
    """
    if (found := kind_of(folder)).kind is not Kind.CHECKPOINT:
        raise CheckpointError(
            found.instead_of("a checkpoint's folder, with config.json and weights")
        )
    config, tensors = read_json(folder / CONFIG), read_tensors(folder)
    remarks = remarks_on_quantisation(config, tensors, str(folder))
    refuse_empty(tensors.values(), folder)
    packed = packed_tensors(config, tensors, str(folder))
    named = source or folder.resolve().name
    return Checkpoint(folder, named, revision, config, tensors, packed, remarks=remarks)


def resolve(
    name: str, revision: str | None, download: Download, adapter: str | None = None
) -> Checkpoint:
    """Open a local folder, or download a hub id first (see :func:`locate_target`).

    Args:
        name: A path or a hub id; of an adapter, to open the model it was trained on and merge it.
        revision: Branch, tag or commit on the hub; None for the default branch.
        download: How a hub id is fetched.
        adapter: Path or hub id of a LoRA adapter to merge into the weights.

    Raises:
        CheckpointError: Neither a folder nor a hub id, or what is there cannot be read.
    """
    named = locate_target(name, revision, download, adapter)
    found, merged = named.target, named.adapter
    checkpoint = open_checkpoint(found.folder, found.source, found.revision)
    if merged is None:
        return checkpoint
    opened = open_adapter(merged.folder, merged.source, merged.revision)
    return replace(checkpoint, adapter=opened)


def hash_files(files: list[Path], advance: Advance) -> dict[str, str]:
    """SHA-256 of each file; ``advance`` is told of every block of bytes hashed.

    By its name, or by its path below all of them where several have that name.

    Raises:
        CheckpointError: A file was downloaded, and is not what the hub has.
    """
    found = {file: sha256(file, advance) for file in files}
    refuse_damaged([file for file, digest in found.items() if differs(file, digest)])
    counts = Counter(file.name for file in files)
    return {
        file.name if counts[file.name] == 1 else _below(file, files): digest
        for file, digest in found.items()
    }


def _below(file: Path, files: list[Path]) -> str:
    common = os.path.commonpath([other.parent for other in files])
    return file.relative_to(common).as_posix()


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
