"""From the rungs that were climbed, and what was measured on the way, to the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from exporter.bundle.inspection import Inspection
from exporter.report.plots import Series
from exporter.verify.measured import Measured
from exporter.verify.report import Report
from exporter.verify.request import Request
from exporter.verify.rung import Rung
from exporter.verify.rungs import acceptance as acceptance_rung
from exporter.verify.rungs import shapes as shapes_rung
from exporter.verify.titles import ORDER
from exporter.verify.views import answer_views
from exporter.version import installed
from runtime_py.chat.tokenizer import Tokenizer

if TYPE_CHECKING:
    from exporter.verify.against_checkpoints import Findings

TOOLS = (
    "mtp-export", "ai-edge-litert", "litert-lm-api", "onnxruntime", "torch", "transformers",
)  # fmt: skip


@dataclass(frozen=True)
class Climbed:
    """How far the ladder was climbed; what is None was not reached."""

    rungs: Sequence[Rung]
    missing: str
    """Why those that are not among ``rungs`` did not run."""
    notes: Sequence[str] = ()
    inspection: Inspection | None = None
    measured: Measured | None = None
    findings: Findings | None = None
    tokenizer: Tokenizer | None = None


def assembled(request: Request, climbed: Climbed) -> Report:
    """Put everything in its order."""
    by_key = {rung.key: rung for rung in climbed.rungs}
    measured, findings = climbed.measured, climbed.findings
    report = Report(
        bundle=request.bundle.name,
        nbytes=request.bundle.stat().st_size,
        recipe=_recipe(climbed.inspection),
        accelerator=request.accelerator,
        tools=installed(TOOLS),
        notes=tuple(climbed.notes),
        rungs=tuple(by_key.get(t.key) or t.skipped(climbed.missing) for t in ORDER),
        layer_errors=findings.layer_errors if findings else (),
    )
    if measured is None or climbed.tokenizer is None:
        return report
    counted = acceptance_rung.count(measured.answers)
    return replace(
        report,
        acceptance=tuple(zip(counted.drafted, counted.accepted, strict=True)),
        tolerance=None if measured.tolerance.rounds else measured.tolerance.graphs.most,
        position_errors=_position_errors(measured, findings),
        answers=answer_views(measured.answers, climbed.tokenizer, measured.noise),
    )


def _position_errors(measured: Measured, findings: Findings | None) -> tuple[Series, ...]:
    """Lines of the plot; the last is what is allowed, where that is not the same everywhere."""
    run, allowed = measured.run, measured.tolerance.graphs
    lines = (*(findings.position_errors if findings else ()), shapes_rung.series(run))
    if measured.tolerance.rounds:
        return (*lines, Series("allowed", run.probes, tuple(allowed.logits.tolist())))
    return lines


def _recipe(inspection: Inspection | None) -> str:
    manifest = inspection.manifest if inspection is not None else None
    return str(manifest["recipe"]["name"]) if manifest else "unknown"
