"""What an export would read, make and need, told before any of it is done.

Where the checkpoints are here the figures come from the plan of the export itself; of what would have to be
downloaded first, from the configs. Times are measured now: a block of every kind of weight is stored and
thrown away.
"""

from __future__ import annotations

import math
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporter.bundle.layout import DRAFT_ROUND_SECTIONS
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.configs.config import parse_target
from exporter.checkpoints.tensors.tower_names import AUDIO, VISION
from exporter.contract.names import Dtype, Section
from exporter.errors import RecipeError, listed
from exporter.litertlm.graphs import LitertGraphs, known_graphs
from exporter.options import ExportOptions
from exporter.plan.export_plan import ExportPlan
from exporter.plan.recipe_sizes import (
    GRAPH_BYTES,
    ROW_SCALE_BYTES,
    TOKEN_BYTES,
    Config,
    NamedSpecs,
    described_weights,
    rule_of,
    storage_bytes,
)
from exporter.weights.matching import BLOCK_ELEMENTS, Weight, Weights
from exporter.weights.storing import choose_rule, misfits, stored_blocks
from quantize.arrays import StoredRows, store_rows
from quantize.builtin_recipes import covering_towers
from quantize.recipe import UNQUANTISED, Algorithm, Recipe, Rule

ROUND, TOKENIZER, BESIDE = "draft round", "tokenizer", "metadata and manifest"
"""What a bundle has beside its sections of graphs."""

BESIDE_BYTES = 64_000
"""Of metadata, manifest, header, and the gaps between sections, which begin on 16 KiB."""
WEIGHT_BYTES = 300
"""By which the room of a weight in a graph (tables, alignment) may differ from what is counted."""

TRIES = 3
"""How often a block is stored to see how long it takes."""

STORING_MEMORY = 230_000_000
"""The most an export took with known graphs, of E4B (docs/benchmarks.md, an export)."""
LOWERING_MEMORY = 820_000_000
"""The most a process took that lowered graphs, of E4B (there, too)."""
GPTQ_MEMORY = 30
"""For a matrix with C inputs, times C squared (docs/recipes.md, calibration)."""


@dataclass(frozen=True)
class SourceFile:
    """A file that would be read."""

    role: str
    name: str
    nbytes: int
    here: bool
    """Whether it is on this machine already."""


@dataclass(frozen=True)
class Part:
    """A weight of the bundle."""

    section: Section
    rows: int
    length: int
    rule: Rule
    stored_block: Callable[[], StoredRows]
    """Stores some of its rows, for the time that takes."""

    @property
    def nbytes(self) -> int:
        """Of all rows, with their scales."""
        return storage_bytes(self.rows, self.length, self.rule.storage)

    @property
    def row_scale_bytes(self) -> int:
        """Of scales that lie in a graph."""
        in_graph = self.rule.storage.quantised and not self.rule.storage.block
        return self.rows * ROW_SCALE_BYTES if in_graph else 0


@dataclass(frozen=True)
class Forecast:
    """What an export would read, make and need."""

    files: tuple[SourceFile, ...]
    sections: Mapping[str, int]
    """Bytes of what the bundle will consist of."""
    error_bytes: int
    """By which their sum may differ from the bundle."""
    graphs_known: bool | None
    """Whether no graph must be lowered; None where that depends on files that are not here."""
    seconds: float | None
    """For storing the weights, without what the disk takes; None where a text is read for codes or scales."""
    measured_bytes: int
    """Of the weights that this was measured on."""
    memory_bytes: int | None
    """At most; None where int8 caches get their scales from a text, which was not measured."""

    @property
    def nbytes(self) -> int:
        return sum(self.sections.values())

    @property
    def missing_bytes(self) -> int:
        """Of what must be downloaded."""
        return sum(file.nbytes for file in self.files if not file.here)

    @property
    def disk_bytes(self) -> int:
        """While it runs: sections are written first, and copied into the bundle then."""
        return 2 * (self.nbytes + self.error_bytes)

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {
            "files": [vars(file) for file in self.files],
            "download_bytes": self.missing_bytes,
            "sections": dict(self.sections),
            "bytes": self.nbytes,
            "error_bytes": self.error_bytes,
            "graphs_known": self.graphs_known,
            "storing_seconds": self.seconds,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
        }


def forecast_of_plan(plan: ExportPlan) -> Forecast:
    """Of an export whose checkpoints are here.

    Args:
        plan: Of a bundle, not of an ONNX folder.
    """
    recipe, pair = plan.options.recipe, plan.pair
    parts = list(_parts(plan.with_towers(plan.kept.weights), recipe))
    requests = [tower.request for tower in plan.towers]
    fresh = plan.options.fresh_graphs
    graphs = None if fresh else known_graphs(plan.request, requests)
    seconds, measured = _seconds(parts, plan.options)
    tokenizer = len(zlib.compress(plan.assets.tokenizer.content()))
    return Forecast(
        tuple(
            file for role, each in pair.checkpoints().items() for file in local_files(role, each)
        ),
        {**_sections(parts, graphs), TOKENIZER: tokenizer, BESIDE: BESIDE_BYTES},
        BESIDE_BYTES + len(parts) * WEIGHT_BYTES + (GRAPH_BYTES if graphs is None else 0),
        graphs is not None,
        seconds,
        measured,
        _memory(parts, plan.options, known=graphs is not None),
    )


def forecast_of_configs(
    target: Config,
    drafter: Config | None,
    where: str,
    options: ExportOptions,
    files: Sequence[SourceFile],
) -> Forecast:
    """Of an export some of whose files would have to be downloaded.

    Codes that a checkpoint was trained with are not known yet, and neither is whether its towers can be used.

    Args:
        target: The parsed ``config.json`` of the target.
        drafter: The drafter's; None for a bundle without one.
        where: Path or id shown in error messages.
        options: How it would be made.
        files: What would be read.

    Raises:
        ConfigError: A model is not exportable.
        MismatchError: The two do not belong together.
        RecipeError: The recipe stores rows in a way that their lengths do not allow.
    """
    parts = list(_described(described_weights(target, drafter, where, options), options.recipe))
    seconds, measured = _seconds(parts, options)
    most = TOKEN_BYTES * parse_target(target, where).text.vocab_size
    return Forecast(
        tuple(files),
        {**_sections(parts, None), TOKENIZER: most // 2, BESIDE: BESIDE_BYTES},
        BESIDE_BYTES + len(parts) * WEIGHT_BYTES + GRAPH_BYTES + most // 2,
        None,
        seconds,
        measured,
        _memory(parts, options, known=False),
    )


def _described(weights: NamedSpecs, recipe: Recipe) -> Iterator[Part]:
    recipe = covering_towers(recipe, (VISION.kind, AUDIO.kind))
    chosen = [
        (section, name, spec, rule_of(name, spec, recipe))
        for section, specs in weights.items()
        for name, spec in specs.items()
    ]
    wanted = ((name, spec.shape[-1], rule.storage) for _, name, spec, rule in chosen)
    if problems := list(misfits(wanted)):
        raise RecipeError(f"recipe {recipe.name}: {listed(problems)}")
    for section, _, spec, rule in chosen:
        length = spec.shape[-1]
        rows = math.prod(spec.shape) // length
        yield Part(section, rows, length, rule, _random_block(rows, length, rule))


def local_files(role: str, checkpoint: Checkpoint) -> Iterator[SourceFile]:
    """What would be read of a checkpoint that is here."""
    for path in checkpoint.source_files():
        yield SourceFile(role, path.name, path.stat().st_size, here=True)


def free_bytes(folder: Path) -> int:
    """Of the disk that a folder is on, or would be on once it is made."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def _parts(weights: Weights, recipe: Recipe) -> Iterator[Part]:
    for section, found in weights.items():
        for weight in found.values():
            rule, shape = choose_rule(weight, recipe), (weight.rows, weight.row_length)
            if rule is None:  # integers, which take as many bytes as floats
                yield Part(section, *shape, UNQUANTISED, _random_block(*shape, UNQUANTISED))
            else:
                yield Part(section, *shape, rule, _first_block(weight, rule))


def _first_block(weight: Weight, rule: Rule) -> Callable[[], StoredRows]:
    return lambda: next(stored_blocks(weight, rule))


def _random_block(rows: int, length: int, rule: Rule) -> Callable[[], StoredRows]:
    count = max(1, min(rows, BLOCK_ELEMENTS // length))

    def store() -> StoredRows:
        values = np.random.default_rng(0).standard_normal((count, length), np.float32)
        return store_rows(values, rule.storage, rule.algorithm)

    return store


def _sections(parts: Sequence[Part], graphs: LitertGraphs | None) -> dict[str, int]:
    """Weights with their graphs; the draft round holds scales once more."""
    sizes: dict[str, int] = {}
    for part in parts:
        sizes[part.section.value] = sizes.get(part.section.value, 0) + part.nbytes
    if Section.MTP_DRAFTER.value in sizes:
        sizes[ROUND] = sum(
            part.row_scale_bytes for part in parts if part.section in DRAFT_ROUND_SECTIONS
        )
    if graphs is None:
        return {**sizes, "graphs": GRAPH_BYTES}
    for section, graph in graphs.lowered.sections.items():
        sizes[section.value] = sizes.get(section.value, 0) + len(graph)
    if graphs.lowered.draft_round is not None:
        both = graphs.lowered.draft_round, graphs.lowered.sections[Section.MTP_DRAFTER]
        sizes[ROUND] += sum(map(len, both))
    return sizes


def _seconds(parts: Sequence[Part], options: ExportOptions) -> tuple[float | None, int]:
    """How long it takes to store the parts, and how many bytes of weights that was measured on.

    A block of the largest weight of each kind is stored, a kind being a storage and an algorithm.
    """
    if options.reads_text:
        return None, 0
    largest: dict[tuple[str, Algorithm], Part] = {}
    elements: dict[tuple[str, Algorithm], int] = {}
    for part in parts:
        kind, count = (part.rule.storage.value, part.rule.algorithm), part.rows * part.length
        elements[kind] = elements.get(kind, 0) + count
        if kind not in largest or count > largest[kind].rows * largest[kind].length:
            largest[kind] = part
    seconds, measured = 0.0, 0
    for kind, part in largest.items():
        took, done = _fastest(part)
        seconds += took * elements[kind] / done
        measured += 2 * done
    return seconds, measured


def _fastest(part: Part) -> tuple[float, int]:
    """The least seconds that a block takes to store, and its elements: other programs only slow it down."""
    took = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        stored = part.stored_block()
        took.append(time.perf_counter() - begun)
    return min(took), stored.rows * part.length


def _memory(parts: Sequence[Part], options: ExportOptions, *, known: bool) -> int | None:
    """The most that one process takes, by what was measured."""
    if options.kv_dtype is Dtype.INT8:
        return None
    inputs = [part.length for part in parts if part.rule.algorithm is Algorithm.GPTQ]
    calibrating = STORING_MEMORY + GPTQ_MEMORY * max(inputs, default=0) ** 2
    return calibrating if known else max(LOWERING_MEMORY, calibrating)
