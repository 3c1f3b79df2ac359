"""The export, from two checkpoints to one bundle: a straight line through the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.calibrate.stage import Calibration
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.pair import DRAFTER, Pair
from exporter.checkpoints.source_hashes import Hashes, hashing
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Dtype, Section
from exporter.contract.text import Contract
from exporter.errors import LoweringError, listed
from exporter.files.output import check_free_space, scratch_folder, size_of
from exporter.formats import WeightlessGraphs
from exporter.lowering.graph_cache import ANEW
from exporter.manifest import ACTIVATIONS_KEY, build_manifest, group_names, source_block
from exporter.options import ExportOptions
from exporter.plan.export_plan import ExportPlan, make_plan
from exporter.progress import Reporter, SilentReporter
from exporter.templates.fitting import RenderInEngine
from exporter.weights.matching import Weights, WeightSpecs, unused_tensors
from exporter.weights.storing import StoredWeight

Stored = Mapping[Section, Sequence[StoredWeight]]
"""How every weight was stored."""

Ignored = dict[str, list[str]]
"""By checkpoint: names of tensors that no graph uses."""


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
    render: RenderInEngine | None = None,
) -> Exported:
    """Make a bundle of a target and its drafter, in the format that was chosen.

    Args:
        target: The target's checkpoint.
        drafter: The drafter's; None for a bundle without one.
        output: What to write.
        options: What the user chose.
        reporter: Told what is going on.
        render: The engine, to try the chat template on; None where there is none.

    Raises:
        MtpExportError: One of its subclasses; nothing is left on disk.
    """
    reporter = reporter or SilentReporter()
    pair = Pair.of(target, drafter)
    with TensorReader() as reader, hashing(pair) as hashes:
        plan = make_plan(pair, output, options, reader, reporter, render)
        graphs = _find_graphs(plan, reporter)
        with scratch_folder(output) as scratch:
            weights = plan.with_towers(_calibrated(plan, scratch, reader, reporter))
            stored = _store(plan, graphs, weights, scratch, reporter)
            with reporter.stage("Finishing checksums", None):
                sha256 = hashes.result()
            ignored = _ignored(pair, weights)
            manifest = _manifest(plan, graphs, stored, sha256, ignored)
            with reporter.stage("Packing the bundle", None):
                finished = plan.form.pack(scratch, plan.assets, plan.contract, manifest, plan.media)
            nbytes = size_of(finished)
            plan.form.publish(finished, output, force=options.force)
    grouped = {role: group_names(names) for role, names in ignored.items()}
    return Exported(output, nbytes, plan.contract, grouped)


def _find_graphs(plan: ExportPlan, reporter: Reporter) -> WeightlessGraphs:
    """Find or make the graphs; check that they fit the weights, and the export the disk."""
    options, towers = plan.options, [tower.request for tower in plan.towers]
    graphs = plan.form.find_graphs(
        plan.request, reporter, fresh=options.fresh_graphs, towers=towers
    )
    check_graphs(graphs, plan.graph_weights())
    needed = graphs.bytes_needed(plan.with_towers(plan.kept.weights), options.recipe)
    check_free_space(plan.output, needed * 3 // 2 if options.recipe.calibrated else needed)
    return graphs


def check_graphs(graphs: WeightlessGraphs, expected: WeightSpecs) -> None:
    """Check that graphs take exactly the weights that were looked up, each in one shape.

    Raises:
        LoweringError: The converter dropped or reshaped one, or other graphs were kept in its place.
    """
    found = {(section, name, spec) for section, name, spec in graphs.weight_inputs()}
    wanted = {(s, name, spec) for s, specs in expected.items() for name, spec in specs.items()}
    if differing := sorted(found ^ wanted, key=str):
        raise LoweringError(
            f"the graphs' weights are not the model's; {ANEW}: "
            f"{listed([f'{section.value}: {name} {spec}' for section, name, spec in differing])}"
        )


def _calibrated(
    plan: ExportPlan, scratch: Path, reader: TensorReader, reporter: Reporter
) -> Weights:
    """The weights with what a text decides about them, if one does."""
    if plan.text is None:
        return plan.kept.weights
    calibration = Calibration(plan.pair, plan.options, plan.text, scratch, reporter)
    return calibration.run(plan.kept.weights, reader)


def _store(
    plan: ExportPlan, graphs: WeightlessGraphs, weights: Weights, scratch: Path, reporter: Reporter
) -> Stored:
    """Write graphs and weights to ``scratch``."""
    recipe = plan.options.recipe
    total = sum(w.tensor.nbytes for section in weights.values() for w in section.values())
    with reporter.stage(f"Storing weights as {recipe.name}", total) as advance:
        return graphs.bind(weights, recipe, scratch, advance)


def _ignored(pair: Pair, weights: Weights) -> Ignored:
    found = {}
    for role, checkpoint in pair.checkpoints().items():
        drafts = role == DRAFTER
        made = {s: of_s for s, of_s in weights.items() if (s is Section.MTP_DRAFTER) == drafts}
        found[role] = unused_tensors(checkpoint, made)
    return found


def _manifest(
    plan: ExportPlan, graphs: WeightlessGraphs, stored: Stored, sha256: Hashes, ignored: Ignored
) -> dict[str, Any]:
    return build_manifest(
        sources={
            role: source_block(checkpoint, sha256[role], ignored[role])
            for role, checkpoint in plan.pair.checkpoints().items()
        },
        recipe=_recipe_block(plan),
        options=_options_block(plan),
        contract=plan.contract,
        graphs=graphs.describe(),
        stored=stored,
        trained_codes=plan.kept.to_json(),
        media=plan.media,
    )


def _recipe_block(plan: ExportPlan) -> dict[str, Any]:
    """What the manifest says of the recipe."""
    recipe = plan.options.recipe
    block: dict[str, Any] = {"name": recipe.name, "rules": recipe.to_json()}
    if plan.text is not None and recipe.calibrated:
        block["calibration"] = plan.text.describe()
    return block


def _options_block(plan: ExportPlan) -> dict[str, Any]:
    """What the manifest says of other options."""
    head = plan.head.value if plan.pair.drafter is not None else None
    block: dict[str, Any] = {"drafter_head": head, "chat_template": plan.assets.template.to_json()}
    if plan.text is not None and plan.options.kv_dtype is Dtype.INT8:
        block["kv_cache_text"] = plan.text.describe()
    if plan.options.activations is not None:
        block[ACTIVATIONS_KEY] = plan.options.activations.value
    return block
