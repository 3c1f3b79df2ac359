"""The tiny pair as other tools save it: tensors under other names, tables of other sizes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.bundles import TINY_TARGET

STOCK_PREFIX = "model.language_model."
"""Of the tiny target's text model."""

Tensors = dict[str, Tensor]


def save_variant(
    folder: Path,
    change: Callable[[Tensors], Tensors],
    config: Mapping[str, Any] | None = None,
    source: Path = TINY_TARGET,
) -> Path:
    """Copy a checkpoint with other tensors and other keys of its ``config.json``."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    tensors = change(load_file(source / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    written = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**written, **(config or {})}))
    return folder


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    """Every tensor that begins with ``old`` begins with ``new``."""

    def change(tensors: Tensors) -> Tensors:
        return {
            new + name.removeprefix(old) if name.startswith(old) else name: tensor
            for name, tensor in tensors.items()
        }

    return change


def grown(folder: Path, rows: int, tables: tuple[str, ...]) -> Path:
    """The tiny target with ``rows`` more rows, of random values, in some of its tables."""
    source = json.loads((TINY_TARGET / "config.json").read_text())
    sizes = {"embed_tokens": "vocab_size", "embed_tokens_per_layer": "vocab_size_per_layer_input"}
    text = source["text_config"]
    text |= {sizes[table]: text[sizes[table]] + rows for table in tables}

    def change(tensors: Tensors) -> Tensors:
        torch.manual_seed(0)
        for table in tables:
            name = f"{STOCK_PREFIX}{table}.weight"
            old = tensors[name]
            new = torch.randn(rows, old.shape[1]) * old.float().std()
            tensors[name] = torch.cat([old, new.to(old.dtype)])
        return tensors

    return save_variant(folder, change, {"text_config": text})
