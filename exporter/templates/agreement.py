"""Whether an engine template gives the model the text that transformers gives it with the checkpoint's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import commonprefix

from exporter.bundle.engine_template import EngineTemplate
from exporter.errors import TemplateError
from exporter.templates.huggingface import HuggingFaceTemplate
from exporter.templates.samples import SAMPLES, STOPS_FOR_TOOL, Sample

SHOWN = 60
"""Characters of a rendering that a message quotes."""


@dataclass(frozen=True)
class Difference:
    """A conversation that the engine template renders otherwise, and how."""

    sample: str
    problem: str

    def __str__(self) -> str:
        return f"{self.sample}: {self.problem}"


@dataclass(frozen=True)
class Expected:
    """What transformers renders, by sample: every spelling that the template knows, or none."""

    renderings: Mapping[str, tuple[str, ...]]

    @staticmethod
    def of(template: HuggingFaceTemplate) -> Expected:
        """Try every sample; those with tools only if the template declares tools at all."""
        found = {sample.name: tuple(_spellings(template, sample)) for sample in SAMPLES}
        if not _declares_tools(template):
            found |= {sample.name: () for sample in SAMPLES if sample.tools}
        return Expected(found)

    @property
    def count(self) -> int:
        """How many samples there are to compare."""
        return sum(1 for texts in self.renderings.values() if texts)


def _declares_tools(template: HuggingFaceTemplate) -> bool:
    samples = [sample for sample in SAMPLES if sample.tools and len(sample.engine) == 1]
    for sample in samples:
        try:
            with_tools = template.render(sample.engine, tools=sample.tools)
            if with_tools != template.render(sample.engine):
                return True
        except TemplateError:
            continue
    return False


def _spellings(template: HuggingFaceTemplate, sample: Sample) -> Iterator[str]:
    for messages in sample.transformers:
        try:
            text = template.render(messages, tools=sample.tools, thinking=sample.thinking)
        except TemplateError:
            continue
        if sample.shows in text:
            yield text


def differences(template: EngineTemplate, expected: Expected) -> Iterator[Difference]:
    """Every sample that transformers can render and the engine would render otherwise."""
    for sample in SAMPLES:
        wanted = expected.renderings[sample.name]
        if wanted and (problem := _problem(template, sample, wanted)):
            yield Difference(sample.name, problem)


def instabilities(template: EngineTemplate) -> Iterator[Difference]:
    """Every sample that the engine could not continue, whatever transformers renders."""
    for sample in SAMPLES:
        try:
            problem = _instability(template, sample, rendered(template, sample))
        except TemplateError as error:
            problem = str(error)
        if problem:
            yield Difference(sample.name, problem)


def unspoken(template: EngineTemplate) -> str:
    """What is wrong with the way a template prints the user's words; empty if nothing is."""
    question = SAMPLES[0]
    text = rendered(template, question)
    if '"type": "text"' in text:
        return "content, which LiteRT-LM gives in parts, is printed as a list"
    words = str(question.engine[0]["content"]).strip()
    return "" if words in text else "what the user says is not in the prompt"


def _problem(template: EngineTemplate, sample: Sample, wanted: tuple[str, ...]) -> str:
    try:
        text = rendered(template, sample)
        if text not in wanted:
            return where_they_part(text, wanted[0])
        return _instability(template, sample, text)
    except TemplateError as error:
        return str(error)


def rendered(template: EngineTemplate, sample: Sample) -> str:
    """A sample's prompt."""
    return template.render(sample.engine, tools=sample.tools, thinking=sample.thinking)


def _instability(template: EngineTemplate, sample: Sample, text: str) -> str:
    """Why the engine could not continue: it processes only what the next message adds to a history's text."""
    for history in sample.histories():
        before = template.render(
            history, tools=sample.tools, thinking=sample.thinking, answering=False
        )
        if not text.startswith(before):
            return (
                "what was rendered of the history changes when the conversation goes on, which the engine "
                f"refuses: {where_they_part(text, before)}"
            )
        if sample.has_result and before.endswith(STOPS_FOR_TOOL):
            return (
                f"{STOPS_FOR_TOOL} is rendered with the call instead of with the tool's answer, so the "
                "engine never processes it"
            )
    return ""


def where_they_part(text: str, wanted: str) -> str:
    """Where two texts part, for a message."""
    at = len(commonprefix([text, wanted]))  # noqa: RUF071 (texts, not paths)
    return f"character {at} on is {text[at:][:SHOWN]!r} instead of {wanted[at:][:SHOWN]!r}"
