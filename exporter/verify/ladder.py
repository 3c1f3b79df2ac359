"""The ladder, from a bundle to a report: every rung in order, each building on those before it.

To add a rung, write ``rungs/<name>.py`` with its ``TITLE`` and its ``judge``, and list it here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.contract.names import Accelerator
from exporter.progress import Reporter, SilentReporter
from exporter.report.plots import Series
from exporter.verify.evidence import Evidence, VerifyRequest
from exporter.verify.report import Report
from exporter.verify.rung import Rung, Title, Verdict
from exporter.verify.rungs import (
    acceptance,
    checksums,
    contract,
    conversations,
    drafter,
    engine,
    graphs,
    half_precision,
    loop,
    model,
    onnx,
    picture_replies,
    pictures,
    quantisation,
    shapes,
    sound_replies,
    sounds,
    tower,
    weights,
)
from exporter.verify.sides.engine import missing_engine
from exporter.verify.sides.golden import Ask, ask, missing
from exporter.verify.texts import DEFAULT_PROMPTS
from exporter.verify.views import answer_views
from exporter.version import installed

RUNGS: tuple[ModuleType, ...] = (
    checksums, contract, weights, model, graphs, shapes, half_precision, quantisation, drafter, tower,
    pictures, sounds, loop, conversations, engine, picture_replies, sound_replies, onnx, acceptance,
)  # fmt: skip
"""A rung is a module with a ``TITLE``, a :class:`~exporter.verify.rung.Title`, and a function
``judge(evidence: Evidence) -> Rung``, which says why it is skipped where it cannot run."""

LAST_OF_CHECKPOINTS = (drafter, sounds)
"""After these, what is large and made of checkpoints is not needed for now."""

TITLES: tuple[Title, ...] = tuple(rung.TITLE for rung in RUNGS)

NO_TARGET = "no --target given; with --target CHECKPOINT (and --drafter CHECKPOINT) it runs"

TOOLS = (
    "mtp-export", "ai-edge-litert", "litert-lm-api", "onnxruntime", "torch", "transformers",
)  # fmt: skip


def climb(request: VerifyRequest, reporter: Reporter, asking: Ask = ask) -> Report:
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
        onnx.require_folder(request.onnx)
    with ExitStack() as stack:
        evidence, blocked = Evidence(request, reporter, asking, stack), ""
        for sentence in foreseen(request):
            reporter.note(sentence)
        for rung in RUNGS:
            found = _judged(rung, evidence, blocked)
            evidence.rungs.append(found)
            if found.verdict is Verdict.FAIL:
                blocked = blocked or rung.TITLE.blocks
            if rung in LAST_OF_CHECKPOINTS and not blocked:  # what comes after may need the memory
                evidence.release_checkpoints()
        return _report(evidence, whole=not blocked)


def verify_bundle(
    bundle: Path,
    target: Checkpoint | None = None,
    drafter: Checkpoint | None = None,
    *,
    prompts: Sequence[str] = DEFAULT_PROMPTS,
    accelerator: Accelerator = Accelerator.CPU,
    threads: int = 2,
    max_new_tokens: int = 64,
    reporter: Reporter | None = None,
) -> Report:
    """Prove a bundle right, or say where it is wrong: ``Report.failed`` has the rungs that failed.

    Args:
        bundle: A ``.litertlm`` file.
        target: The checkpoint it was made from; without it the bundle is compared with itself and the engine.
        drafter: Its drafter.
        prompts: What is answered.
        accelerator: Where the graphs run.
        threads: CPU threads.
        max_new_tokens: Length of each answer.
        reporter: Told what is going on; nobody is by default.

    Raises:
        MtpExportError: Something could not be read or run at all.
    """
    asked = tuple(prompts)
    request = VerifyRequest(bundle, target, drafter, asked, accelerator, threads, max_new_tokens)
    return climb(request, reporter or SilentReporter())


def _judged(rung: ModuleType, evidence: Evidence, blocked: str) -> Rung:
    title: Title = rung.TITLE
    if blocked:
        return title.skipped(blocked)
    if title.needs_target and evidence.request.target is None:
        return title.skipped(NO_TARGET)
    found: Rung = rung.judge(evidence)
    return found


def foreseen(request: VerifyRequest) -> Iterator[str]:
    """Which rungs will be skipped for a reason that is known already, one sentence for each reason."""
    if request.target is None:
        rungs = ", ".join(title.key for title in TITLES if title.needs_target)
        yield (
            f"without --target these rungs are skipped: {rungs}; give --target (and --drafter) the "
            "checkpoints that the bundle was made from to run them"
        )
    elif reason := missing(request.target, request.drafter):
        *most, last = (title.key for title in TITLES if title.asks_transformers)
        yield f"the rungs {', '.join(most)} and {last} are skipped: {reason}"
    if reason := missing_engine():
        yield (
            f"the {engine.TITLE.key} rung is skipped, and {conversations.TITLE.key} are not compared with "
            f"the engine: {reason}"
        )


def _report(evidence: Evidence, *, whole: bool) -> Report:
    """What was found; answers and plots only if the ladder was climbed as a ``whole``."""
    intact = evidence.rungs[0].verdict is not Verdict.FAIL
    manifest = evidence.inspection.manifest if intact else None
    report = Report(
        bundle=evidence.request.bundle.name,
        nbytes=evidence.request.bundle.stat().st_size,
        recipe=str(manifest["recipe"]["name"]) if manifest else "unknown",
        accelerator=evidence.request.accelerator,
        tools=installed(TOOLS),
        notes=tuple(evidence.notes),
        rungs=tuple(evidence.rungs),
        layer_errors=tuple(evidence.layer_errors),
    )
    if not whole:
        return report
    counted, allowed = acceptance.count(evidence.answers), evidence.allowed
    lines = evidence.position_errors
    if evidence.rounds:  # what is allowed is another number at every position: a line of its own
        lines = [*lines, Series("allowed", evidence.run.probes, tuple(allowed.logits.tolist()))]
    return replace(
        report,
        acceptance=tuple(zip(counted.drafted, counted.accepted, strict=True)),
        tolerance=None if evidence.rounds else allowed.most,
        position_errors=tuple(lines),
        mtp=evidence.mtp,
        answers=answer_views(evidence.answers, evidence.model.tokenizer, evidence.noise),
    )
