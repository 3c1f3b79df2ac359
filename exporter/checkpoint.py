"""Reading a Hugging Face checkpoint: which files it has, which tensors, and their rows.

Tensors are read a block of rows at a time, into a buffer of our own. (Mapping the file would count its
pages as this process's memory, which for E2B is 10 GB.) Only safetensors is read: a pickle can run
code, and remote code is never loaded. Knows nothing about what a tensor is for.
"""

from __future__ import annotations

import hashlib
import json
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

HEADER_LIMIT = 100 * 1024 * 1024
"""Largest safetensors header accepted, as in the format's own implementation."""

DAMAGED_HEADER = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""What parsing a header of arbitrary bytes can raise."""

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


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies on disk."""

    name: str
    dtype: str  # safetensors' spelling: BF16, F32, I64, ...
    shape: tuple[int, ...]
    file: Path
    offset: int  # of the first byte, from the start of the file

    @property
    def itemsize(self) -> int:
        return ITEM_SIZES[self.dtype]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.itemsize


ITEM_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip

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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: The file is not JSON or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected JSON, found something else ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value


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


def read_directory(file: Path) -> dict[str, StoredTensor]:
    """Parse and check the header of one safetensors file.

    Raises:
        CheckpointError: The file is truncated or its header is not what the format prescribes.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, HEADER_LIMIT):
            raise CheckpointError(
                f"{file}: expected a safetensors file, found {size} bytes whose header would take "
                f"{length}; the file is truncated or of another format: download it again"
            )
        try:
            header = json.loads(stream.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            tensors = {
                name: _stored(name, entry, file, 8 + length) for name, entry in entries.items()
            }
        except DAMAGED_HEADER as error:
            raise CheckpointError(f"{file}: the safetensors header is damaged ({error})") from error
    end = max((tensor.offset + tensor.nbytes for tensor in tensors.values()), default=8 + length)
    if end > size:
        raise CheckpointError(
            f"{file}: expected {end} bytes by its header, found {size}; the file is truncated: "
            "download it again"
        )
    return tensors


def _stored(name: str, entry: dict[str, Any], file: Path, data_start: int) -> StoredTensor:
    begin, end = entry["data_offsets"]
    tensor = StoredTensor(
        name,
        str(entry["dtype"]),
        tuple(int(n) for n in entry["shape"]),
        file,
        data_start + int(begin),
    )
    if begin < 0 or any(n < 0 for n in tensor.shape):
        raise ValueError(f"{name}: a negative offset or dimension")
    if tensor.nbytes != end - begin:
        raise ValueError(
            f"{name}: {tensor.nbytes} bytes by its shape, {end - begin} by its offsets"
        )
    return tensor


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


def resolve(
    name: str, revision: str | None, download: Callable[[str, str | None], tuple[Path, str]]
) -> Checkpoint:
    """Open a local folder, or download a hub id first.

    Args:
        name: A path or a hub id such as ``google/gemma-4-E2B-it``.
        revision: Branch, tag or commit on the hub; None for the default branch.
        download: Fetches a hub id and returns its folder and the commit it resolved to.

    Raises:
        CheckpointError: Neither a folder nor something that looks like a hub id.
    """
    try:
        path = Path(name).expanduser()
        is_folder = path.is_dir()
    except (OSError, RuntimeError) as error:  # a name too long, or a home folder that is not there
        raise CheckpointError(f"{name}: not a path that can be read ({error})") from error
    if is_folder:
        if revision is not None:
            raise CheckpointError(f"{name} is a local folder; a revision applies to hub ids only")
        return open_checkpoint(path)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"{name}: expected a checkpoint folder or a hub id (owner/name), found no such folder"
        )
    folder, commit = download(name, revision)
    return open_checkpoint(folder, source=name, revision=commit)


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
