"""The chat template that goes into a bundle: the checkpoint's, made to fit, or one that was given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.assets import markers
from exporter.checkpoints.assets.template_places import FoundTemplate, find_template
from exporter.checkpoints.assets.tokenizer_file import TokenizerFile
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.errors import CheckpointError, EngineError, TemplateError
from exporter.regular_file import require_file
from exporter.templates.bounded import within_bounds
from exporter.templates.fitting import (
    FittedTemplate,
    RenderInEngine,
    checked_by_engine,
    fit_template,
    given_template,
)


@dataclass(frozen=True)
class TemplateChoice:
    """How to choose: a template ``given`` in a file, if there is one, and an engine to try the result on."""

    given: Path | None = None
    render: RenderInEngine | None = None


CHECKPOINTS_OWN = TemplateChoice()
"""The checkpoint's template, as far as can be told without the engine."""


def choose_template(
    target: Checkpoint, tokenizer: TokenizerFile, choice: TemplateChoice
) -> tuple[FittedTemplate, tuple[str, ...]]:
    """The template, and what to tell of it.

    Raises:
        CheckpointError: There is no template, or the file that was given cannot be read.
        TemplateError: The engine cannot render it as transformers does.
    """
    found = _found(target, choice)
    if choice.given is not None:
        where = str(choice.given)
        fitted = within_bounds(
            given_template, _read(choice.given), where, found.source if found else None
        )
        notes: tuple[str, ...] = ()
    else:
        assert found is not None
        where = f"{target.folder}: {found.place}"
        fitted, notes = within_bounds(fit_template, found.source, where), found.notes()
    if choice.render is not None:
        try:
            fitted = checked_by_engine(fitted, choice.render, where)
        except EngineError as error:
            notes += (f"the engine could not be asked about the chat template: {error}",)
    unknown = markers.unknown_markers(fitted.source, tokenizer.added)
    return fitted, (*notes, fitted.summary(), *markers.told(unknown))


def _found(target: Checkpoint, choice: TemplateChoice) -> FoundTemplate | None:
    """The checkpoint's own; it may have none where one is given."""
    try:
        return find_template(target)
    except CheckpointError:
        if choice.given is None:
            raise
        return None


def _read(path: Path) -> str:
    try:
        return require_file(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: expected a chat template as a text file ({error})") from error
