"""The ladder, from a bundle to a report: a straight line through the rungs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exporter.bundle.graph_reader import BITS
from exporter.bundle.inspection import Inspection, inspect_bundle
from exporter.bundle.reader import open_bundle
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.assets.template_places import find_template
from exporter.checkpoints.pair import DRAFTER, TARGET, Pair
from exporter.contract import Contract, Section
from exporter.errors import CheckpointError, EngineError
from exporter.manifest import stored_recipe
from exporter.progress import Reporter
from exporter.templates.samples import SAMPLES
from exporter.verify.answers import Answer
from exporter.verify.assembly import Climbed, assembled
from exporter.verify.engine_rendering import render_in_probe
from exporter.verify.measured import Measured, fewest_bits, measure
from exporter.verify.report import Report
from exporter.verify.request import Request, foreseen
from exporter.verify.rung import Rung, Verdict
from exporter.verify.rungs import acceptance as acceptance_rung
from exporter.verify.rungs import checksums as checksum_rung
from exporter.verify.rungs import contract as contract_rung
from exporter.verify.rungs import conversations as conversations_rung
from exporter.verify.rungs import engine as engine_rung
from exporter.verify.rungs import loop as loop_rung
from exporter.verify.rungs import onnx as onnx_rung
from exporter.verify.rungs.engine import EngineRuns
from exporter.verify.sides.golden import Ask, ask
from exporter.verify.sources import differing_adapters, differing_files
from exporter.verify.titles import CONVERSATIONS, ENGINE, NO_TARGET, ONNX
from runtime_py.engine.stock_engine import EngineSettings
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import OpenedModel, open_model

if TYPE_CHECKING:
    from exporter.verify.against_checkpoints import Findings


def climb(request: Request, reporter: Reporter, asking: Ask = ask) -> Report:
    """Run every rung that can run.

    Args:
        request: What to verify.
        reporter: Told what is going on.
        asking: Asks transformers.

    Raises:
        MtpExportError: Something could not be read or run at all; a rung outside its tolerance is no
            exception but part of the report.
    """
    if request.onnx is not None:
        onnx_rung.require_folder(request.onnx)
    bundle = open_bundle(request.bundle)
    for sentence in foreseen(request):
        reporter.note(sentence)
    intact = checksum_rung.checksum_rung(bundle, reporter)
    if intact.verdict is Verdict.FAIL:
        return assembled(request, Climbed([intact], "the bundle is damaged"))
    inspection = inspect_bundle(request.bundle)
    pair = Pair.of(request.target, request.drafter) if request.target is not None else None
    kept = contract_rung.contract_rung(inspection, pair)
    notes = _source_notes(request, inspection, reporter)
    if kept.verdict is Verdict.FAIL:
        broken = Climbed([intact, kept], "the contract is broken", notes, inspection)
        return assembled(request, broken)
    hardware = Hardware(request.accelerator, request.threads)
    with open_model(request.bundle, hardware, drafting=inspection.has_drafter) as model:
        measured = measure(request, inspection, model, reporter)
        findings = None
        if pair is not None:
            findings = _against_checkpoints(
                request, inspection, pair, model, measured, asking, reporter
            )
        runs = _run_engine(request, model.executor.contract, measured.answers, reporter)
        rungs = [intact, kept, measured.shapes, *(findings.rungs if findings else ())]
        rungs += _answer_rungs(request, model, measured, runs)
        rungs.append(_run_conversations(request, inspection, reporter))
        rungs.append(_run_onnx(request, inspection, measured, reporter))
        climbed = Climbed(rungs, NO_TARGET, notes, inspection, measured, findings, model.tokenizer)
        return assembled(request, climbed)


def _against_checkpoints(
    request: Request,
    inspection: Inspection,
    pair: Pair,
    model: OpenedModel,
    measured: Measured,
    asking: Ask,
    reporter: Reporter,
) -> Findings:
    from exporter.verify.against_checkpoints import Against, compare

    cache_bits = BITS[model.executor.contract.kv_dtype.value]
    against = Against(
        inspection.bundle,
        pair,
        _head(inspection),
        stored_recipe(inspection.manifest or {}),
        model.executor,
        measured.run,
        measured.text.fresh,
        measured.starts,
        measured.tolerance.graphs,
        min(cache_bits, fewest_bits(inspection, Section.PREFILL_DECODE)),
        min(cache_bits, fewest_bits(inspection, Section.MTP_DRAFTER)),
        measured.noise,
        request.threads,
        asking,
    )
    return compare(against, reporter)


def _run_engine(
    request: Request, agreed: Contract, answers: Sequence[Answer], reporter: Reporter
) -> EngineRuns | Rung:
    """The stock engine's answers; a rung that was skipped or failed if there are none."""
    if reason := engine_rung.missing_engine():
        return ENGINE.skipped(reason)
    if agreed.accelerator is not request.accelerator:
        return ENGINE.skipped(
            f"the engine runs this bundle with --accelerator {agreed.accelerator.value} only"
        )
    settings = EngineSettings(
        request.bundle,
        mtp=False,
        max_new_tokens=request.max_new_tokens,
        accelerator=request.accelerator,
        threads=request.threads,
        full_precision=True,
    )
    prompts = [answer.prompt for answer in answers]
    with reporter.stage("Answering the prompts in the stock engine", None):
        try:
            return engine_rung.run_both(settings, prompts, drafter=agreed.has_drafter)
        except EngineError as error:  # the judge refuses the bundle: a finding, not our failure
            return ENGINE.judged((), engine_rung.REASON, problems=[str(error)])


def _run_conversations(request: Request, inspection: Inspection, reporter: Reporter) -> Rung:
    template = inspection.bundle.llm_metadata().jinja_prompt_template
    chosen = (inspection.manifest or {}).get("options", {}).get("chat_template", {})
    with reporter.stage("Rendering conversations", None):
        try:
            engine = None if engine_rung.missing_engine() else render_in_probe(template, SAMPLES)
        except EngineError as error:  # the judge cannot be asked: a finding, not our failure
            return CONVERSATIONS.judged((), conversations_rung.REASON, problems=[str(error)])
        return conversations_rung.conversations_rung(
            template, chosen.get("origin"), engine, _checkpoints_template(request)
        )


def _checkpoints_template(request: Request) -> str | None:
    """The template that the target has; one that was given to ``export`` may have stood in for none."""
    try:
        return find_template(request.target).source if request.target is not None else None
    except CheckpointError:
        return None


def _run_onnx(
    request: Request, inspection: Inspection, measured: Measured, reporter: Reporter
) -> Rung:
    if request.onnx is None:
        return ONNX.skipped("no --onnx given; with --onnx FOLDER, of export --format onnx, it runs")
    with reporter.stage("Running the ONNX models", None):
        return onnx_rung.onnx_rung(
            request.onnx,
            onnx_rung.LitertSide(inspection.manifest, measured.run, measured.answers),
            measured.tolerance.graphs,
            request.threads,
            request.max_new_tokens,
        )


def _answer_rungs(
    request: Request,
    model: OpenedModel,
    measured: Measured,
    runs: EngineRuns | Rung,
) -> list[Rung]:
    if isinstance(runs, Rung):
        engine, rate = runs, None
    else:
        rate = runs.on.success_rate if runs.on is not None else None
        engine = engine_rung.engine_rung(
            runs,
            measured.answers,
            model,
            request.max_new_tokens,
            measured.noise,
        )
    return [
        loop_rung.loop_rung(measured.answers, measured.noise),
        engine,
        acceptance_rung.acceptance_rung(measured.answers, rate),
    ]


def _source_notes(request: Request, inspection: Inspection, reporter: Reporter) -> list[str]:
    given = {TARGET: request.target, DRAFTER: request.drafter}
    checkpoints = {role: found for role, found in given.items() if found is not None}
    if not checkpoints or inspection.manifest is None:
        return []
    adapters = differing_adapters(inspection.manifest, checkpoints)
    for (
        sentence
    ) in adapters:  # before the stages, which may take long and end in what follows from it
        reporter.note(sentence)
    return adapters + differing_files(inspection.manifest, checkpoints, reporter)


def _head(inspection: Inspection) -> HeadKind:
    manifest: dict[str, Any] = inspection.manifest or {}
    return HeadKind(manifest["options"]["drafter_head"] or HeadKind.FULL.value)
