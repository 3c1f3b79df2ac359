"""The ladder, from a bundle to a report: a straight line through the rungs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.bundles.inspection import Inspection, inspect_bundle
from exporter.bundles.manifest import stored_recipe
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.contract import Accelerator, Contract, Dtype, Section
from exporter.errors import EngineError
from exporter.heads import HeadKind
from exporter.lowering.graph_reader import BITS
from exporter.pair import Pair
from exporter.parity import (
    acceptance_rung,
    contract_rung,
    engine_rung,
    loop_rung,
    onnx_rung,
    shapes_rung,
)
from exporter.parity.answers import Answer, answer_all
from exporter.parity.engine_rung import EngineRuns
from exporter.parity.golden import Ask, ask, draft_starts, probes
from exporter.parity.graph_run import GraphRun, run_graphs, with_tail
from exporter.parity.report import AnswerView, Report, Series
from exporter.parity.rung import Rung, Verdict
from exporter.parity.sources import differing_files
from exporter.parity.texts import Text, one_text
from exporter.parity.titles import ENGINE, ONNX, ORDER
from exporter.parity.tolerances import GraphTolerance, graph_tolerance, onnx_tolerance
from exporter.parity.views import answer_views
from exporter.progress import Reporter
from exporter.version import installed
from runtime_py.litert_graph import Hardware
from runtime_py.opened_model import OpenedModel, open_model
from runtime_py.stock_engine import EngineSettings

if TYPE_CHECKING:
    from exporter.parity.against_checkpoints import Findings

TOOLS = (
    "mtp-export", "ai-edge-litert", "litert-lm-api", "onnxruntime", "torch", "transformers",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What to verify, against what, and how."""

    bundle: Path
    target: Checkpoint | None
    drafter: Checkpoint | None
    prompts: tuple[str, ...]
    accelerator: Accelerator
    threads: int
    max_new_tokens: int
    onnx: Path | None = None
    """The folder of the same export, made with ``--format onnx``."""


@dataclass(frozen=True)
class Measured:
    """What running the bundle gave, before anything is compared with checkpoints."""

    text: Text
    run: GraphRun
    starts: tuple[int, ...]
    bits: int
    """The fewest of any weight."""
    tolerance: GraphTolerance
    noise: float
    shapes: Rung
    answers: tuple[Answer, ...]


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
    inspection = inspect_bundle(request.bundle)
    pair = Pair.of(request.target, request.drafter) if request.target is not None else None
    first = contract_rung.contract_rung(inspection, pair)
    notes = _source_notes(request, inspection, reporter)
    if first.verdict is Verdict.FAIL:
        return _report(request, inspection, notes, [first], "the contract is broken")
    hardware = Hardware(request.accelerator, request.threads)
    has_drafter = inspection.has_drafter
    with open_model(request.bundle, hardware, drafting=has_drafter) as model:
        measured = _measure(request, inspection, model, reporter)
        findings = None
        if pair is not None:
            findings = _against_checkpoints(
                request, inspection, pair, model, measured, asking, reporter
            )
        runs = _run_engine(request, model.executor.contract, measured.answers, reporter)
        rungs = [first, measured.shapes, *(findings.rungs if findings else ())]
        rungs += _answer_rungs(request, model, measured, runs)
        rungs.append(_run_onnx(request, inspection, measured, reporter))
        return _report(
            request, inspection, notes, rungs, "no --target given", measured, findings, model
        )


def _measure(
    request: Request, inspection: Inspection, model: OpenedModel, reporter: Reporter
) -> Measured:
    executor, agreed = model.executor, model.executor.contract
    text = one_text(request.prompts, model.tokenizer, agreed)
    length = len(text.tokens)
    probed = with_tail(probes(length, agreed.vocab_size), length)
    starts = draft_starts(length, agreed.sliding_window, agreed.draft_length)
    bits = min(fewest_bits(inspection, section) for section in Section)
    tolerance = graph_tolerance(
        quantised=bits < 32,
        layers=agreed.layer_count,
        int8_caches=agreed.kv_dtype is Dtype.INT8,
    )
    with reporter.stage("Running every signature", None):
        run = run_graphs(executor, text.tokens, probed, starts)
    shapes, noise = shapes_rung.shapes_rung(run, tolerance)
    with reporter.stage("Answering the prompts in the reference runtime", None):
        answers = answer_all(
            executor, model.tokenizer, model.template, request.prompts, request.max_new_tokens
        )
    return Measured(text, run, starts, bits, tolerance, noise, shapes, answers)


def _against_checkpoints(
    request: Request,
    inspection: Inspection,
    pair: Pair,
    model: OpenedModel,
    measured: Measured,
    asking: Ask,
    reporter: Reporter,
) -> Findings:
    from exporter.parity.against_checkpoints import Against, compare

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
        measured.tolerance,
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


def _run_onnx(
    request: Request, inspection: Inspection, measured: Measured, reporter: Reporter
) -> Rung:
    if request.onnx is None:
        return ONNX.skipped("no --onnx given")
    layers = measured.run.contract.layer_count
    with reporter.stage("Running the ONNX models", None):
        return onnx_rung.onnx_rung(
            request.onnx,
            onnx_rung.LitertSide(inspection.manifest, measured.run, measured.answers),
            onnx_tolerance(quantised=measured.bits < 32, layers=layers),
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
            model.tokenizer,
            model.executor.contract,
            request.max_new_tokens,
            measured.noise,
        )
    return [
        loop_rung.loop_rung(measured.answers, measured.noise),
        engine,
        acceptance_rung.acceptance_rung(measured.answers, rate),
    ]


def _report(
    request: Request,
    inspection: Inspection,
    notes: Sequence[str],
    rungs: Iterable[Rung],
    missing: str,
    measured: Measured | None = None,
    findings: Findings | None = None,
    model: OpenedModel | None = None,
) -> Report:
    """Put the rungs in order; those that did not run are skipped for the reason ``missing``."""
    by_key = {rung.key: rung for rung in rungs}
    ordered = tuple(by_key.get(title.key) or title.skipped(missing) for title in ORDER)
    counts: tuple[tuple[int, int], ...] = ()
    views: tuple[AnswerView, ...] = ()
    lines: tuple[Series, ...] = ()
    if measured is not None and model is not None:
        found = acceptance_rung.count(measured.answers)
        counts = tuple(zip(found.drafted, found.accepted, strict=True))
        views = answer_views(measured.answers, model.tokenizer, measured.noise)
        lines = (shapes_rung.series(measured.run),)
    return Report(
        bundle=request.bundle.name,
        nbytes=request.bundle.stat().st_size,
        recipe=_recipe(inspection),
        accelerator=request.accelerator,
        tools=installed(TOOLS),
        notes=tuple(notes),
        rungs=ordered,
        acceptance=counts,
        tolerance=measured.tolerance.error if measured is not None else None,
        position_errors=(*(findings.position_errors if findings else ()), *lines),
        layer_errors=findings.layer_errors if findings else (),
        answers=views,
    )


def _source_notes(request: Request, inspection: Inspection, reporter: Reporter) -> list[str]:
    given = {"target": request.target, "drafter": request.drafter}
    checkpoints = {role: found for role, found in given.items() if found is not None}
    if not checkpoints or inspection.manifest is None:
        return []
    return differing_files(inspection.manifest, checkpoints, reporter)


def fewest_bits(inspection: Inspection, section: Section) -> int:
    """Of the weights of a section; 32 where it has none."""
    model = inspection.models.get(section.value)
    groups = model.weights if model is not None else ()
    return min((g.bits for g in groups if g.name.startswith(("target.", "drafter."))), default=32)


def _head(inspection: Inspection) -> HeadKind:
    manifest: dict[str, Any] = inspection.manifest or {}
    return HeadKind(manifest["options"]["drafter_head"] or HeadKind.FULL.value)


def _recipe(inspection: Inspection) -> str:
    return str(inspection.manifest["recipe"]["name"]) if inspection.manifest else "unknown"
