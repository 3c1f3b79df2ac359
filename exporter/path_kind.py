"""What a path that a user gave is: a checkpoint, an adapter, a bundle, or something of another tool.

Looks at names of files, at the first bytes of a file, and one level down. Every command that refuses a
path asks here, so that it can say what was found and what to do with it.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
MLX_WEIGHTS = "adapters.safetensors"
ZERO_SCRIPT, FSDP_FOLDER = "zero_to_fp32.py", "pytorch_model_fsdp_0"
MANIFEST = "manifest.json"
CONFIGS_BELOW = (f"/{CONFIG}", f"/{ADAPTER_CONFIG}")

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Ends of names of files that can run code when they are read."""

TRAINING_STATE = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
"""Beginnings of names of pickles that a trainer leaves beside the weights."""

SHOWN = 4
"""Entries of a folder that are named."""


class Kind(enum.Enum):
    """What there is; each value completes "found" with a detail in the braces."""

    CHECKPOINT = "a checkpoint (config.json and safetensors weights)"
    ADAPTER = "a LoRA adapter of {}"
    MLX_ADAPTER = "an adapter of MLX ({})"
    BOTH = "a whole model and a LoRA adapter in one folder ({})"
    BELOW = "a folder with {} one level down"
    BELOW_ON_HUB = "them one level down only ({})"
    ZERO_STATE = "the state of a training with DeepSpeed, in parts ({})"
    FSDP_STATE = "the state of a training with FSDP, in parts ({})"
    CONFIG_ONLY = "a config.json without weights"
    WEIGHTS_ONLY = "weights without their configuration ({})"
    PART = "one file of a checkpoint or adapter ({})"
    PICKLED = "weights in a pickle ({})"
    BUNDLE = "a .litertlm bundle ({})"
    ONNX_EXPORT = "a folder that `export --format onnx` made"
    ONNX = "ONNX models of another tool ({})"
    GGUF = "weights for llama.cpp ({})"
    TFLITE = "models for LiteRT or MediaPipe ({})"
    EMPTY = "an empty folder"
    NO_FILE = "a pipe, a device or a link that leads nowhere"
    NOTHING = "no such file or folder"
    OTHER = "{}"


CONVERTED = "give the safetensors checkpoint that it was converted from"

WAYS_OUT = {
    Kind.CHECKPOINT: "`export {path}` makes a bundle of it",
    Kind.ADAPTER: "`export {path}` merges it and makes a bundle of that",
    Kind.MLX_ADAPTER: "fuse it into its model with mlx_lm.fuse, dequantised, and give the folder that this "
    "saves",
    Kind.BOTH: "if the adapter is merged already, remove it; if not, move it to a folder of its own and "
    "give that by --lora",
    Kind.BELOW: "give the path of that",
    Kind.BELOW_ON_HUB: "fetch that folder and give its path: `hf download {path} --include '{detail}/*' "
    "--local-dir FOLDER`",
    Kind.ZERO_STATE: "put it together: `python {path}/{detail} {path} FOLDER --safe_serialization`, with "
    "config and tokenizer beside that",
    Kind.FSDP_STATE: "put it together: `accelerate merge-weights {path}/{detail} FOLDER`, with config and "
    "tokenizer beside that",
    Kind.CONFIG_ONLY: "download or save the checkpoint again",
    Kind.WEIGHTS_ONLY: "put the model's config.json (an adapter's adapter_config.json) beside them",
    Kind.PART: "give the folder it is in",
    Kind.PICKLED: "pickles can run code when they are read: save the model or adapter again with "
    "safe_serialization=True",
    Kind.BUNDLE: "`inspect`, `generate`, `verify` and `bench` take that file, `export` the checkpoint it was "
    "made from",
    Kind.ONNX_EXPORT: "`inspect` and `generate --runtime onnx` take it, `verify` by --onnx, and `export` the "
    "checkpoint it was made from",
    Kind.ONNX: CONVERTED,
    Kind.GGUF: CONVERTED,
    Kind.TFLITE: CONVERTED,
}
"""What to do with what there is, where there is something to say."""

ENDS = {
    ".gguf": Kind.GGUF, ".litertlm": Kind.BUNDLE, ".onnx": Kind.ONNX,
    ".tflite": Kind.TFLITE, ".task": Kind.TFLITE, ".safetensors": Kind.WEIGHTS_ONLY,
}  # fmt: skip
"""What the end of a file's name tells of the folder it is in."""

FILE_ENDS = {
    **ENDS,
    **dict.fromkeys(PICKLES, Kind.PICKLED),
    ".litertlm": Kind.OTHER,  # a real bundle was recognised by its first bytes already
    **dict.fromkeys((".safetensors", ".json", ".jinja"), Kind.PART),
}
"""What it tells of the file itself."""

MAGIC = {b"LITERTLM": Kind.BUNDLE, b"GGUF": Kind.GGUF}
"""First bytes of files, whatever they are called."""


@dataclass(frozen=True)
class PathKind:
    """What ``path`` is; ``detail`` names the file or the base model that shows it."""

    path: Path
    kind: Kind
    detail: str = ""

    @property
    def found(self) -> str:
        """Completes "expected ..., found"."""
        found = self.kind.value.format(self.detail)
        return (
            f"a folder with {found}" if self.kind is Kind.BUNDLE and self.path.is_dir() else found
        )

    def instead_of(self, expected: str) -> str:
        """The sentence that refuses the path."""
        advice = WAYS_OUT.get(self.kind, "").format(path=self.path, detail=self.detail)
        refusal = f"{self.path}: expected {expected}, found {self.found}"
        return f"{refusal}; {advice}" if advice else refusal


def kind_of(path: Path) -> PathKind:
    """Look at what is at ``path``."""
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    return PathKind(path, Kind.NO_FILE if os.path.lexists(path) else Kind.NOTHING)


def kind_of_listing(path: Path, files: Sequence[str]) -> PathKind:
    """What a model on the hub is, by the paths of all its files; none of them need be here."""
    own = [file for file in files if "/" not in file]
    if found := _by_files(path, own):
        return found
    below = {file.rpartition("/")[0] for file in files if file.endswith(CONFIGS_BELOW)}
    if below:
        return PathKind(path, Kind.BELOW_ON_HUB, max(below, key=lambda name: (len(name), name)))
    if found := _of_another_tool(path, files):
        return found
    if CONFIG in own:
        return PathKind(path, Kind.CONFIG_ONLY)
    some = [file for file in files if not file.startswith(".")][:SHOWN]
    return PathKind(path, Kind.OTHER, ", ".join(some) or "no files")


def base_of(adapter: Path) -> str | None:
    """The base model that the adapter in a folder says it was trained on, if it says so."""
    file = adapter / ADAPTER_CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (OSError, ValueError, RecursionError):  # whoever reads the adapter itself will say so
        return None
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return base if isinstance(base, str) and base else None


def _file(path: Path) -> PathKind:
    try:
        with path.open("rb") as stream:
            start = stream.read(max(map(len, MAGIC)))
    except OSError:  # whoever reads the file itself will say so
        start = b""
    by_content = (kind for magic, kind in MAGIC.items() if start.startswith(magic))
    kind = next(by_content, FILE_ENDS.get(path.suffix, Kind.OTHER))
    return PathKind(path, kind, "a file of no known kind" if kind is Kind.OTHER else path.name)


def _folder(path: Path) -> PathKind:
    entries = sorted(path.iterdir())
    names = [entry.name for entry in entries if entry.is_file()]
    if found := _by_files(path, names):
        return found
    if below := list(_below(entries)):
        return PathKind(path, Kind.BELOW, ", ".join(below[-SHOWN:]))
    for sign, kind in ((ZERO_SCRIPT, Kind.ZERO_STATE), (FSDP_FOLDER, Kind.FSDP_STATE)):
        if path / sign in entries:
            return PathKind(path, kind, sign)
    if CONFIG in names:
        return PathKind(path, Kind.CONFIG_ONLY)
    if not entries:
        return PathKind(path, Kind.EMPTY)
    some = ", ".join(entry.name for entry in entries[:SHOWN])
    return PathKind(path, Kind.OTHER, f"a folder with {some}")


def _by_files(path: Path, names: list[str]) -> PathKind | None:
    """What a folder's own files make it; None if they say nothing."""
    weights = [n for n in names if n.endswith(".safetensors") and n != ADAPTER_WEIGHTS]
    if CONFIG in names and weights:
        if {ADAPTER_CONFIG, ADAPTER_WEIGHTS} <= set(names):
            return PathKind(path, Kind.BOTH, f"{weights[0]} and {ADAPTER_WEIGHTS}")
        return PathKind(path, Kind.CHECKPOINT)
    if ADAPTER_CONFIG in names:
        if MLX_WEIGHTS in weights and ADAPTER_WEIGHTS not in names:
            return PathKind(path, Kind.MLX_ADAPTER, MLX_WEIGHTS)
        return PathKind(path, Kind.ADAPTER, base_of(path) or "a model that it does not name")
    if MANIFEST in names and any(name.endswith(".onnx") for name in names):
        return PathKind(path, Kind.ONNX_EXPORT)
    return _of_another_tool(path, names)


def _of_another_tool(path: Path, names: Sequence[str]) -> PathKind | None:
    """What the ends of files' names tell; None if that is nothing."""
    for end, kind in ENDS.items():
        if found := [name for name in names if name.endswith(end)]:
            return PathKind(path, kind, found[0])
    pickled = [n for n in names if n.endswith(PICKLES) and not n.startswith(TRAINING_STATE)]
    return PathKind(path, Kind.PICKLED, pickled[0]) if pickled else None


def _below(entries: list[Path]) -> Iterator[str]:
    """What can be exported or merged one level down, or where a hub's cache keeps it."""
    for folder in entries:
        if not folder.is_dir():
            continue
        inside = _entries(folder) if folder.name == "snapshots" else [folder]
        for each in filter(Path.is_dir, inside):
            names = [entry.name for entry in _entries(each) if entry.is_file()]
            found = _by_files(each, names)
            if found is not None and found.kind in (Kind.CHECKPOINT, Kind.ADAPTER, Kind.BOTH):
                yield f"{found.found} ({each})"


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
