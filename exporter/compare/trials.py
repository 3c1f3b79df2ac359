"""Trying out how groups of tensors could be stored: make the bundle, measure it, remove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.bundle.inspection import inspect_bundle
from exporter.compare.allocation import GroupOptions, Option
from exporter.compare.comparison import Sources, Subject, make_baseline, probe
from exporter.compare.groups import Group, Way
from exporter.compare.measure import Baseline
from exporter.compare.passages import PassagePlan
from exporter.progress import Reporter, SilentReporter
from quantize.recipe import Recipe

REFERENCE = Recipe("reference", "every tensor as float32", ())


@dataclass(frozen=True)
class Whole:
    """A recipe as a whole: bytes of its bundle, and what it costs against float32."""

    file_bytes: int
    model_bytes: int
    """Of the sections alone, without the gaps that align them."""
    divergence: float
    """KL divergence from float32, nats per position."""
    accepted: float
    """Share of drafts accepted on float32's own continuations."""
    agreement: float
    perplexity_ratio: float


@dataclass(frozen=True)
class Trials:
    """Everything trials have in common."""

    sources: Sources
    groups: tuple[Group, ...]
    start: Way
    name: str
    baseline: Baseline
    threads: int
    folder: Path

    def recipe(self, ways: Mapping[str, Way]) -> Recipe:
        """One rule a group: the way given for its pattern, else the start."""
        rules = (ways.get(group.pattern, self.start).rule(group.pattern) for group in self.groups)
        return Recipe(self.name, "found by mtp-export quantize-search", tuple(rules))

    def run(self, recipe: Recipe) -> Whole:
        """Make a bundle of it and measure it."""
        subject = self.sources.export(recipe, self.folder, SilentReporter())
        try:
            return self._measured(subject)
        finally:
            subject.path.unlink()

    def _measured(self, subject: Subject) -> Whole:
        found = probe(subject.path, self.baseline, self.threads)
        return Whole(
            subject.path.stat().st_size,
            sum(model.nbytes for model in inspect_bundle(subject.path).models.values()),
            found.text.divergence.value,
            found.accepted,
            found.text.agreement,
            found.text.perplexity_ratio,
        )


def open_trials(
    sources: Sources,
    groups: Sequence[Group],
    start: Way,
    name: str,
    text: str,
    plan: PassagePlan,
    threads: int,
    folder: Path,
) -> Trials:
    """Read the text with float32, which all trials are compared with.

    Raises:
        MtpExportError: The bundle cannot be made or run, or the text is too short.
    """
    subject = sources.export(REFERENCE, folder, SilentReporter())
    baseline = make_baseline(subject, text, plan, threads, folder)
    subject.path.unlink()
    return Trials(sources, tuple(groups), start, name, baseline, threads, folder)


def sensitivity(
    trials: Trials, tried: Sequence[Group], ways: Sequence[Way], start: Whole, reporter: Reporter
) -> list[GroupOptions]:
    """What each group that is tried costs and saves by itself, in every way that fits it."""
    found = []
    for number, group in enumerate(tried, 1):
        options = [Option(trials.start.word)]
        for way in ways:
            if group.fits(way):
                title = f"{number}/{len(tried)} {group.pattern} as {way.word}"
                with reporter.stage(title, None):
                    whole = trials.run(trials.recipe({group.pattern: way}))
                options.append(_option(way, whole, start))
        found.append(GroupOptions(group.pattern, tuple(options)))
    return found


def _option(way: Way, whole: Whole, start: Whole) -> Option:
    return Option(
        way.word,
        whole.model_bytes - start.model_bytes,
        whole.divergence - start.divergence,
        start.accepted - whole.accepted,
    )
