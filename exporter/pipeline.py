"""The export, from two checkpoints to one bundle: a straight line through the stages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.assets import read_assets
from exporter.bind import LoweredGraph, StoredWeight, bind, stored_size
from exporter.bundle import write_bundle
from exporter.checkpoint import Checkpoint, TensorReader, hash_files
from exporter.config import (
    AttentionKind,
    DrafterConfig,
    TargetConfig,
    check_pair,
    parse_drafter,
    parse_target,
)
from exporter.contract import Accelerator, Contract, KvCache, Section
from exporter.errors import ConfigError, LoweringError, RecipeError
from exporter.graph_cache import Graphs, default_folder, find, lower_and_keep
from exporter.heads import HeadKind
from exporter.lower import LoweringRequest
from exporter.manifest import build_manifest, group_names, source_block
from exporter.output import check_destination, check_free_space, publish, scratch_folder
from exporter.parameters import parameter_specs
from exporter.progress import Reporter, SilentReporter
from exporter.weights import Weight, find_weights, unused_tensors
from quantize.recipe import Recipe

DEFAULT_CACHE_LENGTH = 4096
DEFAULT_PREFILL_LENGTHS = (128, 1024)
DEFAULT_DRAFT_LENGTH = 3


@dataclass(frozen=True)
class ExportOptions:
    """What the user chose about a bundle.

    ``cache_length`` and ``prefill_lengths`` of None are chosen to suit the model.
    """

    recipe: Recipe
    cache_length: int | None = None
    prefill_lengths: tuple[int, ...] | None = None
    draft_length: int = DEFAULT_DRAFT_LENGTH
    drafter_head: HeadKind | None = None
    accelerator: Accelerator = Accelerator.CPU
    force: bool = False
    fresh_graphs: bool = False


@dataclass(frozen=True)
class Exported:
    """What was made."""

    output: Path
    nbytes: int
    contract: Contract
    ignored: Mapping[str, Mapping[str, int]]
    """By checkpoint (target, drafter): kinds of tensors that were not used, with their number."""


@dataclass(frozen=True)
class Pair:
    """Two checkpoints that belong together, parsed. ``drafter`` None: a bundle without one."""

    target: Checkpoint
    target_config: TargetConfig
    drafter: Checkpoint | None
    drafter_config: DrafterConfig | None

    @staticmethod
    def of(target: Checkpoint, drafter: Checkpoint | None) -> Pair:
        """Parse both configurations and check that they fit.

        Raises:
            ConfigError: One of them is not exportable.
            MismatchError: They are of different sizes of Gemma.
        """
        target_config = parse_target(target.config, str(target.folder))
        if drafter is None:
            return Pair(target, target_config, None, None)
        drafter_config = parse_drafter(drafter.config, str(drafter.folder))
        check_pair(target_config, drafter_config)
        return Pair(target, target_config, drafter, drafter_config)


def export(
    target: Checkpoint,
    drafter: Checkpoint | None,
    output: Path,
    options: ExportOptions,
    reporter: Reporter | None = None,
) -> Exported:
    """Make a ``.litertlm`` bundle of a target and its drafter.

    Raises:
        MtpExportError: One of its subclasses; nothing is left on disk.
    """
    reporter = reporter or SilentReporter()
    check_destination(output, force=options.force)
    pair = Pair.of(target, drafter)
    assets = read_assets(target)
    head = drafter_head(pair.drafter_config, options.drafter_head, options.accelerator)
    contract = make_contract(pair.target_config, pair.drafter_config, options)
    expected = parameter_specs(pair.target_config, pair.drafter_config, head)
    with TensorReader() as reader, _hashing(target, drafter) as hashes:
        weights = find_weights(expected, target, drafter, reader)
        check_recipe(options.recipe, weights)
        request = LoweringRequest(pair.target_config, pair.drafter_config, head, contract)
        found = find_graphs(request, options, reporter)
        graphs = found.sections
        check_graphs(graphs, expected)
        sizes = {s: stored_size(graphs[s], weights[s], options.recipe) for s in graphs}
        check_free_space(output, 2 * sum(sizes.values()))
        with scratch_folder(output) as scratch:
            stored = _bind_all(graphs, weights, options.recipe, scratch, reporter)
            with reporter.stage("Finishing checksums", None):
                sha256 = hashes.result()
            ignored = _ignored(target, drafter, weights)
            manifest = build_manifest(
                sources={
                    role: source_block(checkpoint, sha256[role], ignored[role])
                    for role, checkpoint in (("target", target), ("drafter", drafter))
                    if checkpoint is not None
                },
                recipe={"name": options.recipe.name, "rules": options.recipe.to_json()},
                options={"drafter_head": head.value if drafter else None},
                contract=contract,
                graphs=found.describe(),
                stored=stored,
            )
            with reporter.stage("Packing the bundle", None), (scratch / "bundle").open("wb") as out:
                paths = {section: scratch / section.value for section in graphs}
                write_bundle(out, paths, assets, contract.cache_length, manifest, scratch)
            publish(scratch / "bundle", output, force=options.force)
    grouped = {role: group_names(names) for role, names in ignored.items()}
    return Exported(output, output.stat().st_size, contract, grouped)


def find_graphs(request: LoweringRequest, options: ExportOptions, reporter: Reporter) -> Graphs:
    """Graphs from the package or the user's cache, else lowered now and kept.

    Raises:
        LoweringError: The converter refused a graph, or is not installed.
    """
    folder = default_folder()
    if not options.fresh_graphs and (known := find(request, folder)) is not None:
        reporter.note(f"using known graphs {known.key[:8]}")
        return known
    with reporter.stage("Lowering the graphs", None):
        return lower_and_keep(request, folder)


def drafter_head(
    config: DrafterConfig | None,
    wanted: HeadKind | None,
    accelerator: Accelerator = Accelerator.CPU,
) -> HeadKind:
    """The head to export: what the user wants, else what suits the checkpoint and the accelerator.

    Raises:
        ConfigError: A centroid head is wanted of a drafter that has none, or for a GPU.
    """
    if config is None:
        return HeadKind.FULL  # nothing is drafted; one kind, so that graphs are known again
    trained = config.centroid_head is not None
    if wanted is HeadKind.CENTROID and not trained:
        raise ConfigError(
            "this drafter was trained without ordered embeddings (use_ordered_embeddings is false), so "
            "it has no centroid head; export with --drafter-head full"
        )
    if wanted is HeadKind.CENTROID and accelerator is Accelerator.GPU:
        raise ConfigError(
            "LiteRT's GPU delegate has no scatter, which a centroid head ends with; export with "
            "--drafter-head full"
        )
    sparse = trained and accelerator is Accelerator.CPU
    return wanted or (HeadKind.CENTROID if sparse else HeadKind.FULL)


def make_contract(
    target: TargetConfig, drafter: DrafterConfig | None, options: ExportOptions
) -> Contract:
    """Decide every shape that crosses the boundary of a graph.

    Raises:
        ConfigError: The lengths asked for do not fit the model or each other.
    """
    cache_length = options.cache_length or min(DEFAULT_CACHE_LENGTH, target.max_position)
    prefill = options.prefill_lengths or tuple(
        sorted({min(tokens, cache_length) for tokens in DEFAULT_PREFILL_LENGTHS})
    )
    draft_length = options.draft_length if drafter is not None else 0
    if cache_length > target.max_position:
        raise ConfigError(
            f"a cache of {cache_length} slots is more than the {target.max_position} positions this "
            "model was trained for; choose a smaller --cache-length"
        )
    if too_long := [tokens for tokens in prefill if tokens > cache_length]:
        raise ConfigError(
            f"a prefill of {too_long[0]} tokens does not fit a cache of {cache_length} slots; choose "
            "smaller --prefill-lengths or a larger --cache-length"
        )
    if draft_length + 1 >= cache_length:
        raise ConfigError(f"{draft_length} drafts do not fit a cache of {cache_length} slots")
    donors = sorted(target.kv_donor(kind).index for kind in AttentionKind)
    return Contract(
        hidden_size=target.text.hidden_size,
        layer_count=len(target.text.layers),
        per_layer_width=target.per_layer_width,
        vocab_size=target.text.vocab_size,
        sliding_window=target.text.sliding_window,
        cache_length=cache_length,
        prefill_lengths=tuple(sorted(set(prefill))),
        draft_length=draft_length,
        kv_caches=tuple(
            KvCache(
                layer.index, layer.kv_heads, layer.head_dim, layer.kind is AttentionKind.SLIDING
            )
            for layer in target.kv_owners
        ),
        drafter_donors=tuple(donors) if drafter is not None else (),
        accelerator=options.accelerator,
    )


def check_recipe(recipe: Recipe, weights: Mapping[Section, Mapping[str, Weight]]) -> None:
    """Check that every rule of a recipe has something to say.

    A rule for the drafter may be idle in a bundle without one.

    Raises:
        RecipeError: Naming the patterns that match no tensor.
    """
    names = [weight.name for section in weights.values() for weight in section.values()]
    idle = recipe.unmatched(names)
    if Section.MTP_DRAFTER not in weights:
        idle = [pattern for pattern in idle if not pattern.startswith("drafter.")]
    if idle:
        raise RecipeError(
            f"recipe {recipe.name}: no tensor of this model matches {', '.join(idle)}; correct or "
            "remove these rules"
        )


def check_graphs(
    graphs: Mapping[Section, bytes], expected: Mapping[Section, Mapping[str, object]]
) -> None:
    """Check that the graphs take exactly the weights that were looked up.

    Raises:
        LoweringError: The converter dropped or reshaped one.
    """
    if set(graphs) != set(expected):
        raise LoweringError(f"expected graphs for {sorted(expected)}, found {sorted(graphs)}")
    for section, graph in graphs.items():
        if (found := LoweredGraph(graph).weight_specs()) != expected[section]:
            differing = sorted(set(found.items()) ^ set(expected[section].items()), key=str)
            raise LoweringError(
                f"{section.value}: the graph's weights are not the model's: {differing}"
            )


def _bind_all(
    graphs: Mapping[Section, bytes],
    weights: Mapping[Section, Mapping[str, Weight]],
    recipe: Recipe,
    scratch: Path,
    reporter: Reporter,
) -> dict[Section, list[StoredWeight]]:
    total = sum(w.tensor.nbytes for section in weights.values() for w in section.values())
    stored = {}
    with reporter.stage(f"Storing weights as {recipe.name}", total) as advance:
        for section, graph in graphs.items():
            with (scratch / section.value).open("wb") as stream:
                stored[section] = bind(graph, weights[section], recipe, stream, advance)
    return stored


Hashes = dict[str, dict[str, str]]
"""SHA-256 of every file that was read, by role and file name."""


@contextmanager
def _hashing(target: Checkpoint, drafter: Checkpoint | None) -> Iterator[Future[Hashes]]:
    """Hash the sources beside everything else; given up at once when the block is left early."""
    stopped = threading.Event()

    def go_on(count: int) -> None:
        if stopped.is_set():
            raise CancelledError

    def hash_sources() -> Hashes:
        both = (("target", target), ("drafter", drafter))
        return {
            role: hash_files(checkpoint.source_files(), go_on)
            for role, checkpoint in both
            if checkpoint is not None
        }

    with ThreadPoolExecutor(max_workers=1) as hasher:
        try:
            yield hasher.submit(hash_sources)
        finally:
            stopped.set()


def _ignored(
    target: Checkpoint, drafter: Checkpoint | None, weights: Mapping[Section, Mapping[str, Weight]]
) -> dict[str, list[str]]:
    ignored = {"target": unused_tensors(target, weights)}
    if drafter is not None:
        ignored["drafter"] = unused_tensors(drafter, weights)
    return ignored
