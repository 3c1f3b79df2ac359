"""The export, from two checkpoints to one bundle: a straight line through the stages."""

from __future__ import annotations

import dataclasses
import importlib.util
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.assets import read_assets
from exporter.calibrate.text import CalibrationText, read_text
from exporter.checkpoint import Checkpoint, hash_files
from exporter.config import (
    AttentionKind,
    DrafterConfig,
    TargetConfig,
    check_pair,
    parse_drafter,
    parse_target,
)
from exporter.contract import Accelerator, Contract, KvCache, Section, TensorSpec, is_prime
from exporter.errors import ConfigError, LoweringError, RecipeError
from exporter.formats import format_of
from exporter.heads import HeadKind
from exporter.lower import LoweringRequest
from exporter.manifest import build_manifest, group_names, source_block
from exporter.output import check_free_space, scratch_folder, size_of
from exporter.output_format import OutputFormat
from exporter.parameters import parameter_specs
from exporter.progress import Reporter, SilentReporter
from exporter.recipe_check import check_recipe
from exporter.tensor_reader import TensorReader
from exporter.trained_codes import Kept, keep_trained_codes
from exporter.weights import Weight, find_weights, unused_tensors
from quantize.recipe import Recipe

DEFAULT_CACHE_LENGTH = 4096
DEFAULT_PREFILL_LENGTHS = (128, 1024)
LONGEST_CACHE = 32768
"""That can be chosen at load, unless more is asked for: 1.2 GB of caches in E2B."""
DEFAULT_DRAFT_LENGTH = 3


@dataclass(frozen=True)
class ExportOptions:
    """What the user chose about a bundle.

    ``cache_length`` and ``prefill_lengths`` of None are chosen to suit the model. With
    ``fixed_cache_length`` whoever loads the bundle cannot choose another. ``calibration`` is a text
    file, for recipes that need one.
    """

    recipe: Recipe
    cache_length: int | None = None
    prefill_lengths: tuple[int, ...] | None = None
    draft_length: int = DEFAULT_DRAFT_LENGTH
    drafter_head: HeadKind | None = None
    batch: int = 1
    format: OutputFormat = OutputFormat.LITERTLM
    calibration: Path | None = None
    accelerator: Accelerator = Accelerator.CPU
    force: bool = False
    fresh_graphs: bool = False
    fixed_cache_length: bool = False
    requantize: bool = False
    """Whether the recipe decides about weights, too, that have codes from their training."""


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
    """Make a bundle of a target and its drafter, in the format that was chosen.

    Raises:
        MtpExportError: One of its subclasses; nothing is left on disk.
    """
    reporter = reporter or SilentReporter()
    form = format_of(options.format)
    form.check_destination(output, force=options.force)
    pair = Pair.of(target, drafter)
    assets = read_assets(target)
    head = drafter_head(pair.drafter_config, options.drafter_head, options.accelerator)
    contract = make_contract(pair.target_config, pair.drafter_config, options)
    expected = parameter_specs(pair.target_config, pair.drafter_config, head)
    with TensorReader() as reader, _hashing(target, drafter) as hashes:
        weights = find_weights(expected, target, drafter, reader)
        check_recipe(options.recipe, weights, calibrating=options.calibration is not None)
        text = read_text(options.calibration, assets) if options.calibration else None
        kept = Kept(weights, {})
        if not options.requantize:
            kept = keep_trained_codes(weights, reporter)
        weights = kept.weights
        for note in kept.notes():
            reporter.note(note)
        request = LoweringRequest(
            pair.target_config, pair.drafter_config, head, contract.as_lowered()
        )
        graphs = form.find_graphs(request, reporter, fresh=options.fresh_graphs)
        check_graphs(graphs.weight_specs(), expected)
        needed = graphs.bytes_needed(weights, options.recipe)
        check_free_space(output, needed * 3 // 2 if text else needed)
        with scratch_folder(output) as scratch:
            if text is not None:
                weights = _calibrated(weights, text, pair, options, scratch, reporter)
            total = sum(w.tensor.nbytes for section in weights.values() for w in section.values())
            with reporter.stage(f"Storing weights as {options.recipe.name}", total) as advance:
                stored = graphs.bind(weights, options.recipe, scratch, advance)
            with reporter.stage("Finishing checksums", None):
                sha256 = hashes.result()
            ignored = _ignored(target, drafter, weights)
            manifest = build_manifest(
                sources={
                    role: source_block(checkpoint, sha256[role], ignored[role])
                    for role, checkpoint in (("target", target), ("drafter", drafter))
                    if checkpoint is not None
                },
                recipe={
                    "name": options.recipe.name,
                    "rules": options.recipe.to_json(),
                    **({"calibration": text.describe()} if text else {}),
                },
                options={"drafter_head": head.value if drafter else None},
                contract=contract,
                graphs=graphs.describe(),
                stored=stored,
                trained_codes=kept.to_json(),
            )
            with reporter.stage("Packing the bundle", None):
                finished = form.pack(scratch, assets, contract, manifest)
            nbytes = size_of(finished)
            form.publish(finished, output, force=options.force)
    grouped = {role: group_names(names) for role, names in ignored.items()}
    return Exported(output, nbytes, contract, grouped)


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
    donors = sorted(target.kv_donor(kind).index for kind in AttentionKind)
    on_gpu = options.accelerator is Accelerator.GPU  # whose operations hold S as an attribute
    fixed = options.fixed_cache_length or on_gpu
    agreed = Contract(
        hidden_size=target.text.hidden_size,
        layer_count=len(target.text.layers),
        per_layer_width=target.per_layer_width,
        vocab_size=target.text.vocab_size,
        sliding_window=target.text.sliding_window,
        cache_length=cache_length,
        placeholder=None if fixed else choose_placeholder(target, cache_length),
        prefill_lengths=tuple(sorted(set(options.prefill_lengths or DEFAULT_PREFILL_LENGTHS))),
        draft_length=options.draft_length if drafter is not None else 0,
        kv_caches=tuple(
            KvCache(
                layer.index, layer.kv_heads, layer.head_dim, layer.kind is AttentionKind.SLIDING
            )
            for layer in target.kv_owners
        ),
        drafter_donors=tuple(donors) if drafter is not None else (),
        batch=options.batch,
        accelerator=options.accelerator,
    )
    if options.prefill_lengths is None:
        agreed = _with_fitting_prefill(agreed)
    check_lengths(agreed, target)
    return agreed


def choose_placeholder(target: TargetConfig, cache_length: int) -> int:
    """The prime that stands for S: above every length that may be asked for, and no factor of a size.

    The same for all but the longest caches, so that their graphs are the same, too.
    """
    text = target.text
    sizes = {text.vocab_size, text.hidden_size, len(text.layers) * target.per_layer_width}
    sizes |= {layer.mlp_width for layer in text.layers}
    number = max(cache_length, min(target.max_position, LONGEST_CACHE)) + 1
    while not is_prime(number) or any(size % number == 0 for size in sizes):
        number += 1
    return number


def _with_fitting_prefill(agreed: Contract) -> Contract:
    """The default prefill lengths as far as they fit; the shortest, cut to fit, if none does."""
    for lengths in (agreed.prefill_lengths, agreed.prefill_lengths[:1]):
        fitting = tuple(sorted({min(length, agreed.cache_length) for length in lengths}))
        chosen = dataclasses.replace(agreed, prefill_lengths=fitting)
        if chosen.shortest_cache <= chosen.cache_length:
            return chosen
    return chosen


def check_lengths(agreed: Contract, target: TargetConfig) -> None:
    """Check that cache, prefill and draft lengths fit the model and each other.

    Raises:
        ConfigError: They do not.
    """
    cache_length = agreed.cache_length
    if agreed.batch > 1 and agreed.accelerator is Accelerator.GPU:
        raise ConfigError("several sequences at once run on the CPU only; leave out --batch")
    if cache_length > target.max_position:
        raise ConfigError(
            f"a cache of {cache_length} slots is more than the {target.max_position} positions this "
            "model was trained for; choose a smaller --cache-length"
        )
    if too_long := [tokens for tokens in agreed.prefill_lengths if tokens > cache_length]:
        raise ConfigError(
            f"a prefill of {too_long[0]} tokens does not fit a cache of {cache_length} slots; choose "
            "smaller --prefill-lengths or a larger --cache-length"
        )
    if agreed.draft_length + 1 >= cache_length:
        raise ConfigError(
            f"{agreed.draft_length} drafts do not fit a cache of {cache_length} slots"
        )
    if agreed.shortest_cache > cache_length:
        raise ConfigError(
            f"these graphs need {agreed.shortest_cache} slots (a window of {agreed.sliding_window} and "
            f"the longest prefill), {cache_length} were asked for; choose a larger --cache-length or "
            "smaller --prefill-lengths, or add --fixed-cache-length"
        )
    if agreed.placeholder is None and is_prime(cache_length):
        raise ConfigError(
            f"the engine takes a prime number of slots for one to be chosen at load, and {cache_length} "
            "is one; choose another --cache-length, or leave out --fixed-cache-length"
        )


Specs = Mapping[Section, Mapping[str, TensorSpec]]


def check_graphs(found: Specs, expected: Specs) -> None:
    """Check that the graphs take exactly the weights that were looked up.

    Raises:
        LoweringError: The converter dropped or reshaped one.
    """
    if set(found) != set(expected):
        raise LoweringError(f"expected graphs for {sorted(expected)}, found {sorted(found)}")
    for section, specs in found.items():
        if specs != expected[section]:
            differing = sorted(set(specs.items()) ^ set(expected[section].items()), key=str)
            raise LoweringError(
                f"{section.value}: the graph's weights are not the model's: {differing}"
            )


def _calibrated(
    weights: dict[Section, dict[str, Weight]],
    text: CalibrationText,
    pair: Pair,
    options: ExportOptions,
    scratch: Path,
    reporter: Reporter,
) -> dict[Section, dict[str, Weight]]:
    """The weights with the codes that a calibration text gives them.

    Raises:
        RecipeError: What runs the models is not installed.
    """
    if importlib.util.find_spec("litert_torch") is None:
        raise RecipeError(
            "gptq runs the models with torch, which is not installed: pip install 'mtp-export[export]', "
            "or use clip instead"
        )
    from exporter.calibrate.calibration import Models, calibrate, work

    folder = scratch / "calibrated"
    folder.mkdir()
    models = Models(pair.target_config, pair.drafter_config, options.draft_length)
    with reporter.stage("Choosing codes with the calibration text", work(weights)) as advance:
        return calibrate(weights, options.recipe, models, text, folder, advance)


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
    drafts = Section.MTP_DRAFTER
    of_drafter = {section: found for section, found in weights.items() if section == drafts}
    of_target = {section: found for section, found in weights.items() if section != drafts}
    ignored = {"target": unused_tensors(target, of_target)}
    if drafter is not None:
        ignored["drafter"] = unused_tensors(drafter, of_drafter)
    return ignored
