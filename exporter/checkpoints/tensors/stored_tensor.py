"""Which tensors lie where in a checkpoint's safetensors files.

Only headers are read and checked. This module does not know what a tensor is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from exporter.checkpoints.json_file import is_there, read_json
from exporter.errors import CheckpointError, listed
from exporter.json_text import JsonError, parse_json
from exporter.path_kind import ADAPTER_WEIGHTS

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

HEADER_LIMIT = 100 * 1024 * 1024
"""Largest safetensors header accepted, as in the format's own implementation."""

DAMAGED_HEADER = (
    ValueError, TypeError, AttributeError, OverflowError,
)  # fmt: skip
"""What parsing a header of arbitrary bytes can raise."""


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


def read_tensors(folder: Path) -> dict[str, StoredTensor]:
    """The directories of all weight files as one.

    Raises:
        CheckpointError: A file is missing, truncated or damaged, or tensors are in two files.
    """
    tensors: dict[str, StoredTensor] = {}
    twice: list[str] = []
    for file in weight_files(folder):
        for name, tensor in read_directory(file).items():
            if name in tensors:
                twice.append(f"{name} is in {tensors[name].file.name} and in {file.name}")
            tensors[name] = tensor
    if twice:
        raise CheckpointError(
            f"{folder}: expected every tensor once; remove the files of another save: {listed(twice)}"
        )
    return tensors


def refuse_empty(tensors: Iterable[StoredTensor], where: Path) -> None:
    """Refuse weights that a process of a distributed training saved although others had them.

    Raises:
        CheckpointError: There are tensors without elements.
    """
    empty = [tensor.name for tensor in tensors if 0 in tensor.shape]
    if empty:
        raise CheckpointError(
            f"{where}: expected weights, found tensors without elements ({len(empty)}, {empty[0]} first), as "
            "DeepSpeed leaves them where it has spread the weights over processes (ZeRO-3); save again with "
            "stage3_gather_16bit_weights_on_model_save, or put the parts together with zero_to_fp32.py"
        )


def weight_files(folder: Path) -> list[Path]:
    """The files, found as transformers finds them.

    Raises:
        CheckpointError: The index is damaged, or names files that are missing or elsewhere.
    """
    if is_there(folder / SINGLE):  # before an index, which may be an older save's
        return [folder / SINGLE]
    if is_there(folder / INDEX):
        return _indexed(folder)
    return sorted(file for file in folder.glob("*.safetensors") if file.name != ADAPTER_WEIGHTS)


def _indexed(folder: Path) -> list[Path]:
    weight_map = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / INDEX}: expected a weight_map, found {weight_map!r}")
    names = sorted({str(name) for name in weight_map.values()})
    if outside := [n for n in names if ".." in PurePosixPath(n).parts or n.startswith("/")]:
        raise CheckpointError(
            f"{folder / INDEX}: expected shards in this folder, found {', '.join(outside)}"
        )
    if missing := [name for name in names if not is_there(folder / name)]:
        raise CheckpointError(
            f"{folder}: {INDEX} names shards that are missing: {', '.join(missing)}; "
            "download the checkpoint again"
        )
    return [folder / name for name in names]


def read_directory(file: Path) -> dict[str, StoredTensor]:
    """Parse and check the header of one safetensors file.

    Raises:
        CheckpointError: The file is truncated or its header is not what the format prescribes.
    """
    if not is_there(file):
        raise CheckpointError(f"{file}: expected a safetensors file, found none")
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, HEADER_LIMIT):
            raise CheckpointError(
                f"{file}: expected a safetensors file, found {size} bytes whose header would take "
                f"{length}; the file is truncated or of another format: download it again"
            )
        try:
            header = parse_json(stream.read(length), unique_keys=True)
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            tensors = {
                name: _stored(name, entry, file, 8 + length) for name, entry in entries.items()
            }
        except JsonError as error:
            raise CheckpointError(
                f"{file}: the safetensors header is damaged (expected JSON, found {error})"
            ) from error
        except DAMAGED_HEADER as error:
            raise CheckpointError(f"{file}: the safetensors header is damaged ({error})") from error
    end = _end(file, tensors.values(), 8 + length)
    if end > size:
        raise CheckpointError(
            f"{file}: expected {end} bytes by its header, found {size}; the file is truncated: "
            "download it again"
        )
    if end < size:
        raise CheckpointError(
            f"{file}: expected {end} bytes by its header, found {size}; what follows the last tensor is "
            "no part of a safetensors file: download it again"
        )
    return tensors


def _end(file: Path, tensors: Iterable[StoredTensor], begin: int) -> int:
    """Where the last tensor ends; each must begin where the one before it does."""
    end = begin
    for tensor in sorted(tensors, key=lambda each: (each.offset, each.nbytes)):
        if tensor.offset != end:
            raise CheckpointError(
                f"{file}: the safetensors header is damaged ({tensor.name} begins at byte "
                f"{tensor.offset}, the tensor before it ends at {end})"
            )
        end += tensor.nbytes
    return end


def _stored(name: str, entry: dict[str, Any], file: Path, data_start: int) -> StoredTensor:
    if missing := [key for key in ("dtype", "shape", "data_offsets") if key not in entry]:
        raise ValueError(f"{name} has no {', '.join(missing)}")
    if entry["dtype"] not in ITEM_SIZES:
        raise ValueError(f"{name} is of the type {entry['dtype']!r}, which is not known here")
    begin, end = (_count(offset) for offset in entry["data_offsets"])
    shape = tuple(_count(dimension) for dimension in entry["shape"])
    tensor = StoredTensor(name, entry["dtype"], shape, file, data_start + begin)
    if tensor.nbytes != end - begin:
        raise ValueError(
            f"{name}: {tensor.nbytes} bytes by its shape, {end - begin} by its offsets"
        )
    return tensor


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a whole number from 0 on, found {value!r}")
    return value
