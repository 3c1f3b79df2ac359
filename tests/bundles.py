"""Bundles of the shipped tiny pair, as the tests use them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from exporter.checkpoints.checkpoint import open_checkpoint
from exporter.contract.names import Accelerator, Dtype
from exporter.options import Activations, ExportOptions, OutputFormat, SlidingCache
from exporter.pipeline import export
from quantize.builtin_recipes import RECIPES
from tests.once import lowering, made_once

ROOT = Path(__file__).parent.parent
TINY_TARGET = ROOT / "checkpoints" / "tiny" / "target"
TINY_DRAFTER = ROOT / "checkpoints" / "tiny" / "drafter"
PROMPT_FILE = ROOT / "checkpoints" / "tiny" / "prompts.txt"

CACHE_LENGTH = 2048
"""What an export of the tiny pair defaults to, so that its shipped graphs are used."""
SHORT_CACHE, SHORT_PREFILLS = 512, (32, 128)
"""Where neither is to be the default: tests agree on these, so that they share the graphs."""
DRAFT_LENGTH = 3


def held_out_prompts(count: int) -> list[str]:
    """Prompts that were not in the tiny pair's training text, of all kinds."""
    prompts = PROMPT_FILE.read_text(encoding="utf-8").splitlines()
    assert len(prompts) >= count
    return prompts[:: len(prompts) // count][:count]


def long_prompts() -> list[str]:
    """Two that are answered by a story, past slot 512 the first and past slot 1024 the other.

    There full attention takes another length (``exporter.model.text.filled``).
    """
    prompts = PROMPT_FILE.read_text(encoding="utf-8").splitlines()
    return ["\n".join(prompts[18:22]), "\n".join(prompts[6:23])]


def poor_drafter(folder: Path) -> Path:
    """The tiny drafter with its input projection negated: it fits the target, and is hardly ever right."""
    shutil.copytree(TINY_DRAFTER, folder)
    file = folder / "model.safetensors"
    content = np.fromfile(file, np.uint8)
    begin = 8 + int.from_bytes(content[:8].tobytes(), "little")
    entry = json.loads(content[8:begin].tobytes())["pre_projection.weight"]
    assert entry["dtype"] == "BF16"
    first, last = entry["data_offsets"]
    content[begin + first : begin + last].view(np.uint16)[:] ^= 0x8000
    content.tofile(file)
    return folder


class TinyBundles(dict[str, Path]):
    """Bundles by recipe; one that is missing is exported by ``make``, which is given the output."""

    def __init__(self, folder: Path, make: Callable[[Path, str], object]) -> None:
        super().__init__()
        self.folder = folder
        self.make = make

    def __missing__(self, recipe: str) -> Path:
        output = self.folder / f"{recipe}.litertlm"
        self[recipe] = made_once(output, lambda output: self.make(output, recipe))
        return self[recipe]


def export_tiny(
    output: Path,
    recipe: str,
    *,
    drafter: bool = True,
    cache_length: int | None = None,
    fixed_cache_length: bool = False,
    prefill_lengths: tuple[int, ...] | None = None,
    batch: int = 1,
    target_folder: Path = TINY_TARGET,
    drafter_folder: Path = TINY_DRAFTER,
    output_format: OutputFormat = OutputFormat.LITERTLM,
    accelerator: Accelerator = Accelerator.CPU,
    activations: Activations | None = None,
    kv_dtype: Dtype = Dtype.FLOAT32,
    sliding_cache: SlidingCache = SlidingCache.FULL,
) -> Path:
    """Export the tiny pair; graphs are lowered once per machine and then known."""
    options = ExportOptions(
        RECIPES[recipe],
        cache_length,
        prefill_lengths,
        draft_length=DRAFT_LENGTH,
        format=output_format,
        fixed_cache_length=fixed_cache_length,
        batch=batch,
        accelerator=accelerator,
        activations=activations,
        kv_dtype=kv_dtype,
        sliding_cache=sliding_cache,
    )
    assistant = open_checkpoint(drafter_folder) if drafter else None
    with lowering():
        return export(open_checkpoint(target_folder), assistant, output, options).output
