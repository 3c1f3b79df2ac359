"""Which safetensors files a checkpoint's weights are in, and the tensors of all of them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from exporter.checkpoints.json_file import read_json
from exporter.checkpoints.tensors.stored_tensor import StoredTensor, read_directory
from exporter.errors import CheckpointError, listed
from exporter.path_kind import ADAPTER_WEIGHTS

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


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


def weight_files(folder: Path) -> list[Path]:
    """The files, found as transformers finds them.

    Raises:
        CheckpointError: The index is damaged, or names files that are missing or elsewhere.
    """
    if (folder / SINGLE).is_file():  # before an index, which may be an older save's
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
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
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{folder}: {INDEX} names shards that are missing: {', '.join(missing)}; "
            "download the checkpoint again"
        )
    return [folder / name for name in names]
