"""The export, from two checkpoints to one bundle: a straight line through the stages."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from exporter.agreement import make_contract
from exporter.binding.parameters import parameter_specs, scale_specs
from exporter.binding.trained_codes import Kept, keep_trained_codes
from exporter.binding.weights import Weight, find_weights, unused_tensors
from exporter.bundles.manifest import build_manifest, group_names, source_block
from exporter.bundles.output import check_free_space, scratch_folder, size_of
from exporter.calibrate.text import DEFAULT_TEXT, CalibrationText, read_text
from exporter.checkpoints.assets import read_assets
from exporter.checkpoints.checkpoint import Checkpoint, hash_files
from exporter.checkpoints.tensor_reader import TensorReader
from exporter.contract import Contract, Dtype, Section, TensorSpec
from exporter.errors import LoweringError, RecipeError
from exporter.formats import format_of
from exporter.lowering.lower import LoweringRequest
from exporter.options import ExportOptions
from exporter.pair import Pair, drafter_head
from exporter.progress import Reporter, SilentReporter
from exporter.recipe_check import check_recipe

if TYPE_CHECKING:
    from exporter.calibrate.calibration import Models

ValueT = TypeVar("ValueT")


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
        int8_caches = options.kv_dtype is Dtype.INT8
        check_recipe(
            options.recipe,
            weights,
            calibrating=options.calibration is not None,
            int8_caches=int8_caches,
        )
        needs_text = options.recipe.calibrated or int8_caches
        text = read_text(options.calibration or DEFAULT_TEXT, assets) if needs_text else None
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
        scales = scale_specs(pair.target_config, pair.drafter_config) if int8_caches else {}
        check_graphs(graphs.weight_specs(), _joined(expected, scales))
        needed = graphs.bytes_needed(weights, options.recipe)
        check_free_space(output, needed * 3 // 2 if options.recipe.calibrated else needed)
        with scratch_folder(output) as scratch:
            run = _Calibration(pair, options, text, scratch, reporter) if text else None
            if run and options.recipe.calibrated:
                weights = run.codes(weights)
            if run and int8_caches:
                weights = _joined(weights, run.cache_scales(weights, reader))
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
                    **(
                        {"calibration": text.describe()}
                        if text and options.recipe.calibrated
                        else {}
                    ),
                },
                options={
                    "drafter_head": head.value if drafter else None,
                    **({"kv_cache_text": text.describe()} if text and int8_caches else {}),
                },
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


def _joined(
    weights: Mapping[Section, Mapping[str, ValueT]], scales: Mapping[Section, Mapping[str, ValueT]]
) -> dict[Section, dict[str, ValueT]]:
    """Both by section; ``scales`` has nothing for some of them."""
    return {section: {**found, **scales.get(section, {})} for section, found in weights.items()}


Weights = dict[Section, dict[str, Weight]]


@dataclass(frozen=True)
class _Calibration:
    """What is decided by running the models over a text; needs torch."""

    pair: Pair
    options: ExportOptions
    text: CalibrationText
    scratch: Path
    reporter: Reporter

    def codes(self, weights: Weights) -> Weights:
        """The weights with the codes that the text gives them.

        Raises:
            RecipeError: What runs the models is not installed.
        """
        _require_torch("gptq runs the models", "use clip instead")
        from exporter.calibrate.calibration import calibrate, work

        stage = "Choosing codes with the calibration text"
        with self.reporter.stage(stage, work(weights)) as advance:
            return calibrate(
                weights,
                self.options.recipe,
                self._models(),
                self.text,
                self._folder("codes"),
                advance,
            )

    def cache_scales(self, weights: Weights, reader: TensorReader) -> Weights:
        """The scales of int8 caches, by the sections that read them.

        Raises:
            RecipeError: What runs the target is not installed.
        """
        _require_torch("--kv-cache int8 runs the target", "leave it out")
        from exporter.calibrate.cache_scales import measure_ranges, scale_weights, work

        models, folder = self._models(), self._folder("scales")
        total = work(weights, models.target)
        with self.reporter.stage("Measuring keys and values", total) as advance:
            ranges = measure_ranges(
                weights, self.options.recipe, models, self.text, folder, advance
            )
        return scale_weights(ranges, models, folder, reader)

    def _models(self) -> Models:
        from exporter.calibrate.calibration import Models

        pair = self.pair
        return Models(pair.target_config, pair.drafter_config, self.options.draft_length)

    def _folder(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir()
        return folder


def _require_torch(what: str, instead: str) -> None:
    if importlib.util.find_spec("litert_torch") is None:
        raise RecipeError(
            f"{what} with torch, which is not installed: pip install 'mtp-export[export]', or {instead}"
        )


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
