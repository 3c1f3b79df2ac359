"""Choosing the template that goes into a bundle: the engine must render what transformers renders.

The first of these that renders as transformers does is taken: the checkpoint's own; this project's template
for Gemma 4, in one of its variants; the checkpoint's, rewritten. They are tried on conversations of every
kind (``samples``); if none of them will do, the export is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exporter.bundle.engine_template import EngineTemplate
from exporter.errors import TemplateError
from exporter.pip_install import pip_install
from exporter.templates.agreement import (
    Difference,
    Expected,
    differences,
    instabilities,
    rendered,
    unspoken,
    where_they_part,
)
from exporter.templates.gemma4 import variants
from exporter.templates.huggingface import HuggingFaceTemplate
from exporter.templates.rewriting import rewritten
from exporter.templates.samples import SAMPLES, Sample

RenderInEngine = Callable[[str, Sequence[Sample]], Sequence[str]]
"""Renders samples with a template in the engine itself; an empty text where it refuses."""


class Origin(enum.StrEnum):
    """Where a bundle's template comes from."""

    CHECKPOINT = "checkpoint"
    GEMMA4 = "gemma4"
    REWRITTEN = "rewritten"
    GIVEN = "given"


TOLD = {
    Origin.CHECKPOINT: "the checkpoint's chat template works in LiteRT-LM as it is",
    Origin.GEMMA4: "the checkpoint's chat template is Gemma 4's, which LiteRT-LM cannot run; the bundle "
    "gets one for LiteRT-LM that renders the same",
    Origin.REWRITTEN: "the checkpoint's chat template was rewritten for LiteRT-LM and renders the same",
    Origin.GIVEN: "the chat template is the one that was given",
}


@dataclass(frozen=True)
class FittedTemplate:
    """The template of a bundle, and what it can do."""

    source: str
    origin: Origin
    conversations: int
    """How many were tried and rendered as transformers renders them; of a given one, how many of all."""
    thinking: bool
    """Whether it has a switch for thinking."""
    tools: bool
    """Whether it declares tools to the model."""
    warning: str = ""
    """What is odd about how it prints the user's words."""
    asked_engine: bool = False
    """Whether the engine itself rendered the conversations, too, and as expected."""

    def summary(self) -> str:
        """One line for the person who exports."""
        how = f"{self.conversations} conversations compared with transformers"
        if self.origin is Origin.GIVEN:
            how = f"{self.conversations} conversations as with the checkpoint's, of {len(SAMPLES)} tried"
        if self.asked_engine:
            how += ", and with the engine itself"
        warned = f"; warning: {self.warning}" if self.warning else ""
        return f"{TOLD[self.origin]} ({how}){warned}"

    def to_json(self) -> dict[str, Any]:
        """What the manifest says of the choice, whether or not an engine was there to be asked."""
        return {"origin": self.origin.value, "conversations": self.conversations}


def fit_template(source: str, where: str) -> FittedTemplate:
    """Find the template for the engine.

    Args:
        source: The checkpoint's template.
        where: Where it was found, for messages.

    Raises:
        TemplateError: The engine cannot be given a template that renders the same; says on which
            conversation, and the line where there is one.
    """
    _refuse_empty(source, where)
    try:
        expected = Expected.of(HuggingFaceTemplate(source))
    except TemplateError as error:
        raise TemplateError(f"{where}: expected a chat template, but {error}") from error
    if not expected.count:
        raise TemplateError(
            f"{where}: the chat template refuses every conversation, a single question too"
        )
    problem = ""
    for origin, candidate in _candidates(source):
        try:
            template = EngineTemplate(candidate)
            first = next(differences(template, expected), None)
        except TemplateError as error:
            first = Difference("every conversation", str(error))
        if first is None:
            return _fitted(template, origin, expected.count)
        if origin is not Origin.GEMMA4:
            problem = str(first)
    raise TemplateError(
        f"{where}: LiteRT-LM cannot render this chat template as transformers does, not even rewritten: "
        f"{problem}; give a template that it can render with --chat-template FILE"
    )


def given_template(source: str, where: str, checkpoints: str | None) -> FittedTemplate:
    """A template that somebody wrote for the engine: it must work there and may differ otherwise.

    Args:
        source: The template.
        where: Its file, for messages.
        checkpoints: The checkpoint's template, if it has one.

    Raises:
        TemplateError: The engine cannot render it, not even rewritten, or not go on with a conversation.
    """
    _refuse_empty(source, where)
    template, problem = _usable(source)
    if problem:
        template, still = _usable(rewritten(source))
        if still:
            raise TemplateError(
                f"{where}: LiteRT-LM cannot use this chat template, not even rewritten: {problem}"
            )
    assert template is not None
    same = 0
    if checkpoints is not None:
        try:
            expected = Expected.of(HuggingFaceTemplate(checkpoints))
            same = expected.count - sum(1 for _ in differences(template, expected))
        except TemplateError:
            same = 0  # nothing to compare with
    return _fitted(template, Origin.GIVEN, same)


def checked_by_engine(fitted: FittedTemplate, render: RenderInEngine, where: str) -> FittedTemplate:
    """Let the engine render every sample, which must give what we expect of it.

    Raises:
        TemplateError: It renders one otherwise.
    """
    template = EngineTemplate(fitted.source)
    for sample, text in zip(SAMPLES, render(fitted.source, SAMPLES), strict=True):
        try:
            expected = rendered(template, sample)
        except TemplateError:
            expected = ""  # which is what the engine gives for a refusal
        if text != expected:
            raise TemplateError(
                f"{where}: the installed LiteRT-LM renders the chat template otherwise than expected: "
                f"{sample.name}: {where_they_part(text, expected)}; install the version of the engine "
                f"that was tested ({pip_install('engine')}), or report this"
            )
    return replace(fitted, asked_engine=True)


def _refuse_empty(source: str, where: str) -> None:
    if not source.strip():
        raise TemplateError(f"{where}: expected a chat template, found an empty text")


def _usable(source: str) -> tuple[EngineTemplate | None, str]:
    """The template, and what keeps the engine from using it."""
    try:
        template = EngineTemplate(source)
    except TemplateError as error:
        return None, str(error)
    unstable = next(instabilities(template), None)
    return template, str(unstable) if unstable else unspoken(template)


def _candidates(source: str) -> Iterator[tuple[Origin, str]]:
    yield Origin.CHECKPOINT, source
    yield from ((Origin.GEMMA4, variant.source()) for variant in variants())
    yield Origin.REWRITTEN, rewritten(source)


def _fitted(template: EngineTemplate, origin: Origin, conversations: int) -> FittedTemplate:
    question = ({"role": "user", "content": "?"},)
    tool = {"type": "function", "function": {"name": "f", "description": "d"}}
    plain = template.render(question)
    return FittedTemplate(
        template.source,
        origin,
        conversations,
        thinking=template.render(question, thinking=True) != plain,
        tools=template.render(question, tools=(tool,)) != plain,
        warning=unspoken(template),
    )
