"""A LoRA adapter in PEFT's format: which module it changes, and how.

Reads ``adapter_config.json`` and the directory of ``adapter_model.safetensors``, and puts the tensors of
each module together. Which weight a module is, and whether it fits, is for ``exporter.weights.matching``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.json_file import is_there, read_json
from exporter.checkpoints.lora.base_model import base_note
from exporter.checkpoints.lora.config import AdapterConfig, check_patterns, parse_adapter_config
from exporter.checkpoints.lora.low_rank import LowRank
from exporter.checkpoints.lora.token_rows import TokenRows
from exporter.checkpoints.tensors.stored_tensor import StoredTensor, read_directory, refuse_empty
from exporter.checkpoints.tensors.text_modules import text_module
from exporter.errors import CheckpointError, listed
from exporter.path_kind import ADAPTER_CONFIG, ADAPTER_WEIGHTS, Kind, base_of, kind_of

PICKLED_WEIGHTS = "adapter_model.bin"

PREFIX = "base_model.model."
"""The prefix of every tensor's name: PEFT's wrappers around the model that was trained."""

TOKENS = ".token_adapter.trainable_tokens_delta"
"""Rows of single tokens."""

PARTS = (
    TOKENS,
    ".lora_A.weight",
    ".lora_B.weight",
    ".lora_embedding_A",
    ".lora_embedding_B",
    ".lora_magnitude_vector.weight",
    ".lora_magnitude_vector",
    ".base_layer.weight",
    ".weight",
)
"""Ends of tensor names; the rest is the module. The last two are a weight stored whole."""

NAMED_ADAPTER = re.compile(
    r"\.(lora_(?:A|B|embedding_A|embedding_B|magnitude_vector)|modules_to_save|token_adapter"
    r"\.trainable_tokens_delta)\.(?!weight$)"
)
"""What comes before an adapter's name within a model that has it."""


@dataclass(frozen=True)
class ModuleChange:
    """What an adapter does to one module: another weight in its place, a change of its rows, or both."""

    module: str  # as in the file, without PEFT's prefix
    whole: StoredTensor | None
    rows: LowRank | TokenRows | None
    in_place: bool
    """Whether ``whole`` was loaded into the parameter itself, which a tied head shares."""


@dataclass(frozen=True)
class Adapter:
    """A folder with an adapter, its modules by their name within the text model."""

    folder: Path
    source: str
    revision: str | None
    config: AdapterConfig
    changes: Mapping[str, ModuleChange]
    base: str | None = None
    """The model it was trained on, as its configuration names it."""

    def notes(self, target: str) -> list[str]:
        """What should be said of merging it into ``target``, one sentence each."""
        notes = []
        if unknown := ", ".join(self.config.unknown):
            notes.append(
                f"{self.source}: {ADAPTER_CONFIG} sets {unknown}, which this version does not know; "
                "`verify --lora` compares with PEFT"
            )
        if note := base_note(self.base, target):
            notes.append(note)
        return notes

    def source_files(self) -> list[Path]:
        """Every file that merging reads."""
        return [self.folder / ADAPTER_CONFIG, self.folder / ADAPTER_WEIGHTS]


def open_adapter(folder: Path, source: str | None = None, revision: str | None = None) -> Adapter:
    """Read an adapter's configuration and tensor directory; no weights are read.

    Raises:
        CheckpointError: Files are missing or damaged, or listing every tensor that is not part of a
            LoRA adapter.
    """
    if (found := kind_of(folder)).kind not in (Kind.ADAPTER, Kind.BOTH):
        raise CheckpointError(found.instead_of(f"an adapter's folder, with {ADAPTER_CONFIG}"))
    weights = folder / ADAPTER_WEIGHTS
    if not is_there(weights):
        pickled = (folder / PICKLED_WEIGHTS).is_file()
        raise CheckpointError(
            f"{folder}: expected {ADAPTER_WEIGHTS}, found "
            + (f"only {PICKLED_WEIGHTS}, a pickle, which can run code" if pickled else "none")
            + "; save the adapter again with safe_serialization=True"
        )
    where = folder / ADAPTER_CONFIG
    config = parse_adapter_config(read_json(where), str(where))
    tensors = read_directory(weights)
    refuse_empty(tensors.values(), weights)
    _refuse_state_dict(tensors, weights)
    parts, problems = _by_module(tensors)
    check_patterns(config, parts, str(where))
    for module, tensors in parts.items():
        problems += _problems(module, tensors, config)
    problems += _twice(parts)
    if problems:
        raise CheckpointError(f"{weights}: {listed(problems)}")
    changes = {text_module(m): _change(m, tensors, config) for m, tensors in parts.items()}
    named = source or folder.resolve().name
    return Adapter(folder, named, revision, config, changes, base_of(folder))


def _refuse_state_dict(names: Iterable[str], weights: Path) -> None:
    """Refuse what was saved of a PEFT model by other means than its own.

    Raises:
        CheckpointError: There are names with the adapter's name in them, which PEFT does not read either.
    """
    found = next((name for name in names if NAMED_ADAPTER.search(name)), None)
    if found is not None:
        raise CheckpointError(
            f"{weights}: {found} has the name of the adapter in its name, as in a state dict of the model; "
            "save the adapter with PEFT's own model.save_pretrained(folder)"
        )


Parts = dict[str, StoredTensor]
"""Tensors of one module by the end of their name, as in :data:`PARTS`."""


def _by_module(tensors: Mapping[str, StoredTensor]) -> tuple[dict[str, Parts], list[str]]:
    modules: dict[str, Parts] = {}
    problems = []
    for name, tensor in tensors.items():
        part = next((part for part in PARTS if name.endswith(part)), None)
        if part is None or not name.startswith(PREFIX):
            problems.append(f"{name}: not a tensor of a LoRA adapter that can be merged")
            continue
        module = name.removeprefix(PREFIX).removesuffix(part)
        modules.setdefault(module, {})[part.removesuffix(".weight") or part] = tensor
    if not modules and not problems:
        problems.append("expected an adapter's tensors, found none")
    return modules, problems


def _twice(modules: Iterable[str]) -> list[str]:
    """Modules that are the same one of the text model, under two prefixes."""
    counted = Counter(text_module(module) for module in modules)
    return [
        f"{module} is changed twice, under two prefixes" for module, n in counted.items() if n > 1
    ]


def _problems(module: str, parts: Parts, config: AdapterConfig) -> list[str]:
    """What keeps a module's tensors from being a change."""
    problems = []
    for pair in ((".lora_A", ".lora_B"), (".lora_embedding_A", ".lora_embedding_B")):
        found = [parts[part] for part in pair if part in parts]
        if len(found) == 1:
            problems.append(f"{module}: expected both of {pair[0]} and {pair[1]}, found one")
        elif found:
            problems += _factor_problems(module, found[0], found[1], config)
    magnitude = ".lora_magnitude_vector" in parts
    linear = ".lora_A" in parts
    if magnitude and not linear:
        problems.append(f"{module}: DoRA is merged into linear layers only, this is an embedding")
    if linear and magnitude != config.dora:
        problems.append(
            f"{module}: use_dora is {config.dora}, and a lora_magnitude_vector is "
            + ("there" if magnitude else "missing")
        )
    if TOKENS in parts:
        problems += _token_problems(module, parts, config)
    return problems


def _token_problems(module: str, parts: Parts, config: AdapterConfig) -> list[str]:
    expected, shape = len(config.tokens_of(module)), parts[TOKENS].shape
    if len(shape) != 2 or shape[0] != expected:
        return [
            f"{module}: expected rows of the {expected} tokens of trainable_token_indices, found a tensor "
            f"of shape {list(shape)}"
        ]
    if {".lora_A", ".lora_embedding_A"} & parts.keys():
        return [f"{module}: trained both as a whole, by factors, and in single rows"]
    return []


def _factor_problems(
    module: str, a: StoredTensor, b: StoredTensor, config: AdapterConfig
) -> list[str]:
    if len(a.shape) > 2:
        return [
            f"{module}: factors of a convolution cannot be merged here; merge them with PEFT "
            "(merge_and_unload) and export what that saves"
        ]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        return [
            f"{module}: factors of shapes {list(a.shape)} and {list(b.shape)} do not belong together"
        ]
    if a.shape[0] != (rank := config.rank_of(module)):
        return [f"{module}: expected rank {rank} by the configuration, found {a.shape[0]}"]
    return []


def _change(module: str, parts: Parts, config: AdapterConfig) -> ModuleChange:
    whole = parts.get(".base_layer", parts.get(".weight"))
    return ModuleChange(
        module, whole, _rows(module, parts, config), in_place=not config.saves(module)
    )


def _rows(module: str, parts: Parts, config: AdapterConfig) -> LowRank | TokenRows | None:
    scaling = config.scaling(module)
    if TOKENS in parts:
        return TokenRows(parts[TOKENS], config.tokens_of(module))
    if ".lora_A" in parts:
        magnitude = parts.get(".lora_magnitude_vector")
        return LowRank(parts[".lora_B"], parts[".lora_A"], scaling, magnitude=magnitude)
    if ".lora_embedding_A" in parts:
        up, down = parts[".lora_embedding_A"], parts[".lora_embedding_B"]
        return LowRank(up, down, scaling, of_embedding=True)
    return None
