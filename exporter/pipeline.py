"""The export, from two checkpoints to one bundle: a straight line through the stages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.agreement import make_contract
from exporter.binding.parameters import parameter_specs, scale_specs
from exporter.binding.trained_codes import Kept, keep_trained_codes
from exporter.binding.weights import Weight, find_weights, unused_tensors
from exporter.bundles.manifest import build_manifest, group_names, source_block
from exporter.bundles.output import check_free_space, scratch_folder, size_of
from exporter.calibrate.stage import Calibration, calibration_text
from exporter.calibrate.text import CalibrationText
from exporter.checkpoints.assets import read_assets
from exporter.checkpoints.checkpoint import Checkpoint, hash_files
from exporter.checkpoints.tensor_reader import TensorReader
from exporter.contract import Contract, Section, TensorSpec
from exporter.errors import LoweringError
from exporter.formats import format_of
from exporter.heads import HeadKind
from exporter.lowering.lower import LoweringRequest
from exporter.options import ExportOptions
from exporter.pair import Pair, drafter_head
from exporter.progress import Reporter, SilentReporter
from exporter.recipe_check import check_recipe


@dataclass(frozen=True)
class Exported:
    """What was made."""

    output: Path
    nbytes: int
    contract: Contract
    ignored: Mapping[str, Mapping[str, int]]
    """By checkpoint (target, drafter): kinds of tensors that were not used, with their number."""


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
        check_recipe(
            options.recipe,
            weights,
            calibrating=options.calibration is not None,
            int8_caches=options.int8_caches,
        )
        text = calibration_text(options, assets)
        kept = Kept(weights, {}) if options.requantize else keep_trained_codes(weights, reporter)
        for note in kept.notes():
            reporter.note(note)
        weights = kept.weights
        lowered = contract.as_lowered()
        request = LoweringRequest(pair.target_config, pair.drafter_config, head, lowered)
        graphs = form.find_graphs(request, reporter, fresh=options.fresh_graphs)
        check_graphs(graphs.weight_specs(), _with_scales(expected, pair, options))
        needed = graphs.bytes_needed(weights, options.recipe)
        check_free_space(output, needed * 3 // 2 if options.recipe.calibrated else needed)
        with scratch_folder(output) as scratch:
            if text is not None:
                weights = Calibration(pair, options, text, scratch, reporter).run(weights, reader)
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
                recipe=_recipe_block(options, text),
                options=_options_block(options, head if drafter else None, text),
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


def _with_scales(expected: Specs, pair: Pair, options: ExportOptions) -> Specs:
    """What the graphs take: the models' weights and, of int8 caches, scales."""
    if not options.int8_caches:
        return expected
    scales = scale_specs(pair.target_config, pair.drafter_config)
    return {section: {**specs, **scales.get(section, {})} for section, specs in expected.items()}


def _recipe_block(options: ExportOptions, text: CalibrationText | None) -> dict[str, Any]:
    """What the manifest says of the recipe."""
    block: dict[str, Any] = {"name": options.recipe.name, "rules": options.recipe.to_json()}
    if text is not None and options.recipe.calibrated:
        block["calibration"] = text.describe()
    return block


def _options_block(
    options: ExportOptions, head: HeadKind | None, text: CalibrationText | None
) -> dict[str, Any]:
    """What the manifest says of other options."""
    block: dict[str, Any] = {"drafter_head": head.value if head else None}
    if text is not None and options.int8_caches:
        block["kv_cache_text"] = text.describe()
    return block


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
