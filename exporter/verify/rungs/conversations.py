"""Rung: prompts of every kind of conversation are the engine's, and what transformers makes of them.

Single questions hide what a template does wrong: system prompts, history, tools and thoughts are rendered by
the bundle's template in our runtime and in the engine, and by the checkpoint's template in transformers' way.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.bundle.engine_template import EngineTemplate
from exporter.checkpoints.assets.template_places import find_template
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.errors import CheckpointError, EngineError, TemplateError
from exporter.templates.agreement import Expected, differences, rendered, where_they_part
from exporter.templates.bounded import within_bounds
from exporter.templates.fitting import Origin
from exporter.templates.huggingface import HuggingFaceTemplate
from exporter.templates.samples import SAMPLES
from exporter.verify.evidence import Evidence
from exporter.verify.rung import Figure, Rung, Title
from exporter.verify.sides.engine import missing_engine, render_in_probe

TITLE = Title(
    "conversations",
    "Prompts of every kind of conversation are the engine's",
    "If they differ from transformers', give the checkpoint that was exported, or export again; if from the "
    "engine's, look at litert-lm-api's version (the extra engine installs one that was tested).",
)

REASON = "prompts are text and must be equal, character by character"


def judge(evidence: Evidence) -> Rung:
    """Compare with the engine if it is installed, and with the checkpoint's template if there is one."""
    template = evidence.bundle.llm_metadata().jinja_prompt_template
    options = (evidence.inspection.manifest or {}).get("options", {})
    chosen = options.get("chat_template") or {}
    with evidence.reporter.stage("Rendering conversations", None):
        try:
            engine = None if missing_engine() else render_in_probe(template, SAMPLES)
        except EngineError as error:  # the judge cannot be asked: a finding, not our failure
            return TITLE.judged((), REASON, problems=[str(error)])
        checkpoints = _checkpoints_template(evidence.request.target)
        return compare_prompts(template, chosen.get("origin"), engine, checkpoints)


def _checkpoints_template(target: Checkpoint | None) -> str | None:
    """The template that the target has; one that was given to ``export`` may have stood in for none."""
    try:
        return find_template(target).source if target is not None else None
    except CheckpointError:
        return None


def compare_prompts(
    template: str, origin: str | None, engine: Sequence[str] | None, checkpoints: str | None
) -> Rung:
    """Compare prompts.

    Args:
        template: The bundle's.
        origin: Where the manifest says that it comes from.
        engine: The engine's prompt of each sample, empty where it refuses; None if it cannot be asked.
        checkpoints: The checkpoint's template; None if there is no checkpoint to compare with.
    """
    if engine is None and checkpoints is None:
        return TITLE.skipped("there is neither an engine nor a checkpoint to compare prompts with")
    figures, problems = [Figure("conversations tried", len(SAMPLES))], list[str]()
    if engine is not None:
        found = _against_engine(EngineTemplate(template), engine)
        figures.append(Figure("prompts that differ from the engine's", len(found), 0))
        problems += found
    if checkpoints is not None:
        try:
            found = within_bounds(not_as_transformers, template, checkpoints)
        except TemplateError as error:
            found = [f"the checkpoint's template cannot be rendered: {error}"]
        chosen = origin == Origin.GIVEN  # by the person who exported: told, not judged
        limit = None if chosen else 0
        figures.append(Figure("prompts that differ from transformers'", len(found), limit))
        problems += [] if chosen else found
    return TITLE.judged(figures, REASON, problems=problems, note=_note(engine, checkpoints))


def _note(engine: Sequence[str] | None, checkpoints: str | None) -> str:
    """Which half of the comparison is missing."""
    if engine is None:
        return "not compared with the engine, which is not installed"
    return "" if checkpoints is not None else "not compared with a checkpoint's template"


def not_as_transformers(template: str, checkpoints: str) -> list[str]:
    """What a template renders otherwise than transformers does with the checkpoint's.

    Raises:
        TemplateError: One of them cannot be parsed.
    """
    expected = Expected.of(HuggingFaceTemplate(checkpoints))
    found = differences(EngineTemplate(template), expected)
    return [f"not as transformers, {difference}" for difference in found]


def _against_engine(ours: EngineTemplate, engine: Sequence[str]) -> list[str]:
    problems = []
    for sample, text in zip(SAMPLES, engine, strict=True):
        try:
            expected = rendered(ours, sample)
        except TemplateError:
            expected = ""
        if text != expected:
            problems.append(f"not as the engine, {sample.name}: {where_they_part(expected, text)}")
    return problems
