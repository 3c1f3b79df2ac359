"""Reading a Hugging Face checkpoint: which files it has, which tensors, and their rows.

Tensors are read a block of rows at a time, into a buffer of our own. (Mapping the file would count its
pages as this process's memory, which for E2B is 10 GB.) Only safetensors is read: a pickle can run
code, and remote code is never loaded. Knows nothing about what a tensor is for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import CheckpointError, listed
from exporter.json_file import read_json
from exporter.source_folder import Download, locate
from exporter.stored_tensor import StoredTensor, read_directory

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
FLOAT_TYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with ``config.json`` and safetensors weights.

    ``source`` is what the user named (a hub id or a path's last part) and ``revision`` the commit the
    files came from, if they came from the hub.
    """

    folder: Path
    source: str
    revision: str | None
    config: dict[str, Any]
    tensors: dict[str, StoredTensor]

    @property
    def weight_files(self) -> list[Path]:
        return sorted({tensor.file for tensor in self.tensors.values()})

    def source_files(self) -> list[Path]:
        """Every file an export reads: the weights, and the small files beside them."""
        beside = (self.folder / name for name in SMALL_FILES)
        return [*(path for path in beside if path.is_file()), *self.weight_files]

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
    return Checkpoint(folder, source or folder.resolve().name, revision, config, tensors)


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


class TensorReader:
    """Reads rows of tensors from the files they lie in. Use as a context manager."""

    def __init__(self) -> None:
        self._files = ExitStack()
        self._open: dict[Path, FileIO] = {}

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()
        self._open.clear()

    def read(self, tensor: StoredTensor, start: int, count: int) -> bytearray:
        """``count`` elements of ``tensor`` from element ``start`` on, as they are stored.

        Raises:
            CheckpointError: The file ended early.
        """
        if tensor.file not in self._open:
            self._open[tensor.file] = self._files.enter_context(FileIO(tensor.file))
        stream = self._open[tensor.file]
        stream.seek(tensor.offset + start * tensor.itemsize)
        data = bytearray(count * tensor.itemsize)
        view, done = memoryview(data), 0
        while done < len(data):
            got = stream.readinto(view[done:])
            if not got:
                raise CheckpointError(f"{tensor.file}: ended while reading {tensor.name}")
            done += got
        return data

    def floats(self, tensor: StoredTensor, start: int, count: int) -> NDArray[np.float32]:
        """The same as float32.

        Raises:
            CheckpointError: The tensor is not of a float type, or has NaN or infinite elements.
        """
        if tensor.dtype not in FLOAT_TYPES:
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} is {tensor.dtype}, expected one of {', '.join(FLOAT_TYPES)}"
            )
        values = _to_float32(self.read(tensor, start, count), tensor.dtype)
        if not np.isfinite(values).all():
            first = start + int(np.argmin(np.isfinite(values)))
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} has NaN or infinite values (the first is element "
                f"{first}); such a checkpoint cannot be exported: look for a diverged training run "
                "or a damaged file"
            )
        return values

    def integers(self, tensor: StoredTensor) -> NDArray[np.int64]:
        """A whole integer tensor.

        Raises:
            CheckpointError: The tensor is not I64 or I32.
        """
        types = {"I64": "<i8", "I32": "<i4"}
        if tensor.dtype not in types:
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} is {tensor.dtype}, expected I64 or I32"
            )
        data = self.read(tensor, 0, math.prod(tensor.shape))
        return np.frombuffer(data, types[tensor.dtype]).astype(np.int64).reshape(tensor.shape)


def _to_float32(data: bytearray, dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":
        wide = np.frombuffer(data, "<u2").astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32, copy=False)


def resolve(name: str, revision: str | None, download: Download) -> Checkpoint:
    """Open a local folder, or download a hub id first (see :func:`locate`).

    Raises:
        CheckpointError: Neither a folder nor a hub id, or what is there cannot be read.
    """
    found = locate(name, revision, download)
    return open_checkpoint(found.folder, found.source, found.revision)


def hash_files(files: list[Path], advance: Callable[[int], None]) -> dict[str, str]:
    """SHA-256 of each file by its name; ``advance`` is told of every block of bytes hashed."""
    return {file.name: _sha256(file, advance) for file in files}


def _sha256(file: Path, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    for block in _blocks(file):
        digest.update(block)
        advance(len(block))
    return digest.hexdigest()


def _blocks(file: Path, size: int = 4 * 1024 * 1024) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(size):
            yield block


def require(checkpoint: Checkpoint, wanted: dict[str, tuple[int, ...]]) -> None:
    """Check that every wanted tensor is there with its shape.

    Raises:
        CheckpointError: Listing every tensor that is missing or has another shape.
    """
    problems = []
    for name, shape in wanted.items():
        tensor = checkpoint.tensors.get(name)
        if tensor is None:
            problems.append(f"{name} is missing, expected shape {list(shape)}")
        elif tensor.shape != shape:
            problems.append(f"{name} has shape {list(tensor.shape)}, expected {list(shape)}")
    if problems:
        raise CheckpointError(f"{checkpoint.folder}: {listed(problems)}")
