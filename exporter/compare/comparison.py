"""All recipes of a pair, or ready bundles, measured on the same text against the same reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from exporter.agreement import choose_head
from exporter.bundle.inspection import inspect_bundle
from exporter.checkpoints.assets.media_tokens import PICTURE, SOUND
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.configs.audio import parse_audio
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.checkpoints.tensors.tower_names import AUDIO, VISION
from exporter.compare.figures import Estimate, Quality, TensorFigures, TextFigures
from exporter.compare.measure import (
    Baseline,
    check_room,
    check_tokens,
    compare_text,
    continue_all,
    draft_everywhere,
    read_logits,
)
from exporter.compare.media import Observed, compare_media, observe
from exporter.compare.passages import PassagePlan, cut
from exporter.compare.questions import Question
from exporter.compare.tensors import tensor_figures
from exporter.compare.verdict import Verdict, conclude
from exporter.contract.names import Section
from exporter.files.output import scratch_folder
from exporter.options import ExportOptions
from exporter.pipeline import export
from exporter.plan.towers import tower_weights
from exporter.progress import Reporter
from exporter.report.plain_json import plain
from exporter.verify.sides.stored_weights import UnreadableWeightError
from exporter.version import runtime_versions
from exporter.weights.audio import AudioLayout
from exporter.weights.audio_parameters import audio_parameter_specs
from exporter.weights.matching import Weight, Weights, find_weights
from exporter.weights.parameters import parameter_specs
from exporter.weights.towers import has_tower
from exporter.weights.vision import VisionLayout
from exporter.weights.vision_parameters import vision_parameter_specs
from quantize.recipe import Recipe
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import OpenedModel, open_model

VERSION = 1
"""Of the JSON report."""


@dataclass(frozen=True)
class Subject:
    """A bundle and what to call it."""

    name: str
    path: Path


@dataclass(frozen=True)
class Sources:
    """Checkpoints to make bundles from, and how, apart from the recipe.

    A calibration text among the options is for those recipes that need one.
    """

    target: Checkpoint
    drafter: Checkpoint | None
    options: ExportOptions

    def export(self, recipe: Recipe, folder: Path, reporter: Reporter) -> Subject:
        """A bundle of that recipe in ``folder``, in the place of one with that name."""
        output = folder / f"{recipe.name}.litertlm"
        calibration = self.options.calibration if recipe.calibrated else None
        options = replace(self.options, recipe=recipe, calibration=calibration, force=True)
        return Subject(
            recipe.name, export(self.target, self.drafter, output, options, reporter).output
        )

    @contextmanager
    def weights(self, *, towers: bool = False) -> Iterator[Weights]:
        """The weights of the text model and its drafter, readable inside the block.

        Args:
            towers: And those of towers, if there are any.
        """
        pair = Pair.of(self.target, self.drafter)
        head = choose_head(pair.drafter_config, self.options)
        specs = parameter_specs(pair.target_config, pair.drafter_config, head)
        with TensorReader() as reader:
            found = find_weights(specs, self.target, self.drafter, reader)
            table = found[Section.EMBEDDER]["weight"]
            yield ({**found, **self._vision(table), **self._audio(table)} if towers else found)

    def _vision(self, table: Weight) -> Weights:
        config = parse_vision(self.target.config, str(self.target.folder))
        if config is None or not has_tower(self.target, VISION):
            return {}
        layout = VisionLayout(self.options.accelerator)
        specs = vision_parameter_specs(config, table.row_length)
        return tower_weights(self.target, PICTURE, layout, specs, table)

    def _audio(self, table: Weight) -> Weights:
        config = parse_audio(self.target.config, str(self.target.folder))
        if config is None or not has_tower(self.target, AUDIO):
            return {}
        specs = audio_parameter_specs(config, table.row_length)
        layout = AudioLayout(config, self.options.accelerator)
        return tower_weights(self.target, SOUND, layout, specs, table)


@dataclass(frozen=True)
class Probe:
    """The figures that a search needs: exact comparisons on fixed tokens, nothing timed."""

    text: TextFigures
    accepted: float
    """Share of drafts accepted on the reference's continuations; 0 without a drafter."""


@dataclass(frozen=True)
class Comparison:
    """The report. The first quality is the reference's own."""

    reference: str
    text: str
    plan: PassagePlan
    tools: Mapping[str, str]
    qualities: tuple[Quality, ...]

    def lost(self, quality: Quality) -> Estimate | None:
        """The share of paired drafts that a bundle has accepted less than the reference."""
        return quality.lost(self.qualities[0])

    @property
    def verdict(self) -> Verdict:
        """Which of them to take, and why."""
        return conclude(self.qualities, self.text)

    @property
    def media(self) -> tuple[str, ...]:
        """What bundles take beside text and can be compared in: ``picture``, ``sound``."""
        return tuple(dict.fromkeys(one.noun for quality in self.qualities for one in quality.media))

    @property
    def knows_answers(self) -> bool:
        """Whether there are questions whose right answers are known."""
        return any(one.known for quality in self.qualities for one in quality.media)

    def to_json(self) -> dict[str, Any]:
        """As one JSON object; what is not a finite number becomes text."""
        block: dict[str, Any] = plain(asdict(self))
        for entry, quality in zip(block["qualities"], self.qualities, strict=True):
            entry["loss"] = quality.text.loss
            entry["perplexity_ratio"] = quality.text.perplexity_ratio
            lost = self.lost(quality)
            entry["lost"] = plain(asdict(lost)) if lost else None
            for tensor, figures in zip(entry["tensors"], quality.tensors, strict=True):
                tensor["bits"] = figures.bits
        return {"version": VERSION, "verdict": asdict(self.verdict), **block}


@contextmanager
def opened(path: Path, plan: PassagePlan, threads: int) -> Iterator[OpenedModel]:
    """A bundle in the reference runtime, with its drafter if it has one and a cache no longer than needed.

    Raises:
        BundleError: It cannot be run, or its cache is too short for the passages.
    """
    agreed = inspect_bundle(path).contract
    slots = None
    if agreed is not None and agreed.placeholder is not None:
        slots = max(agreed.shortest_cache, plan.longest + agreed.draft_length + 1)
    drafting = agreed is not None and agreed.has_drafter
    hardware = Hardware(threads=threads)
    with open_model(path, hardware, cache_length=slots, drafting=drafting) as model:
        check_room(model, plan, path)
        yield model


def make_baseline(
    subject: Subject, text: str, plan: PassagePlan, threads: int, folder: Path
) -> Baseline:
    """Read and continue the text with the reference bundle.

    Raises:
        TextFileError: The text is too short.
        BundleError: The bundle cannot be run, or its cache is too short.
        OutputError: ``folder``, where the logits go, has no room for them.
    """
    with opened(subject.path, plan, threads) as model:
        passages = cut(text, model.tokenizer, plan)
        logits = read_logits(model, passages, folder)
        continued = continue_all(model, passages, plan)
    tokens = tuple(heard.tokens for heard in continued.every)
    return Baseline(subject.name, passages, plan, logits, tokens)


def probe(path: Path, baseline: Baseline, threads: int) -> Probe:
    """The figures that cost least time and vary least."""
    with opened(path, baseline.plan, threads) as model:
        text = compare_text(model, baseline)
        drafts = draft_everywhere(model.executor, baseline)
    return Probe(text, drafts.share.value if drafts else 0.0)


def measure(subject: Subject, baseline: Baseline, threads: int, weights: Weights | None) -> Quality:
    """Everything about one bundle but what it makes of pictures and sounds.

    Raises:
        BundleError: It cannot be run, its cache is too short, or its model has other tokens.
    """
    inspection = inspect_bundle(subject.path)
    with opened(subject.path, baseline.plan, threads) as model:
        check_tokens(model, baseline, subject.path)
        text = compare_text(model, baseline)
        continued = continue_all(model, baseline.passages, baseline.plan)
        paired = draft_everywhere(model.executor, baseline)
    tensors: tuple[TensorFigures, ...] = ()
    notes: tuple[str, ...] = ()
    try:
        tensors = tensor_figures(inspection.bundle, weights)
    except UnreadableWeightError as error:
        notes = (str(error),)
    return Quality(
        subject.name,
        subject.path.stat().st_size,
        {
            section.value: inspection.models[section.value].nbytes
            for section in Section
            if section.value in inspection.models
        },
        text,
        continued.drafts(),
        paired,
        continued.speed(),
        tensors,
        notes,
    )


@dataclass(frozen=True)
class ComparisonRequest:
    """What to compare. Bundles are given, or made from ``sources`` with the ``recipes``.

    The first recipe or bundle is the reference.
    """

    sources: Sources | None
    recipes: tuple[Recipe, ...]
    bundles: tuple[Subject, ...]
    text: str
    text_name: str
    plan: PassagePlan
    threads: int
    questions: tuple[Question, ...] = ()
    """About pictures and sounds; without any, some are asked about what is drawn."""


def compare(request: ComparisonRequest, folder: Path, reporter: Reporter) -> Comparison:
    """Make, measure and compare.

    Args:
        request: What.
        folder: Where bundles go, and the reference's logits meanwhile.
        reporter: Told what is going on.

    Raises:
        MtpExportError: A bundle cannot be made or run, the text is too short, or the disk is full.
    """
    baseline: Baseline | None = None
    observed: Observed | None = None
    qualities: list[Quality] = []
    with (
        request.sources.weights(towers=True) if request.sources else nullcontext() as weights,
        scratch_folder(folder / "reference") as scratch,
    ):
        for subject in _subjects(request, folder, reporter):
            with reporter.stage(f"Measuring {subject.name}", None):
                baseline = baseline or make_baseline(
                    subject, request.text, request.plan, request.threads, scratch
                )
                quality = measure(subject, baseline, request.threads, weights)
                found = observe(subject.path, request.questions, request.plan.new, request.threads)
                observed = observed or found
                media = compare_media(found, observed)
                notes = quality.notes_beside(qualities[0] if qualities else quality) + found.notes
                qualities.append(replace(quality, media=media, notes=notes))
    assert baseline is not None
    used = replace(request.plan, passages=len(baseline.passages))
    return Comparison(baseline.name, request.text_name, used, runtime_versions(), tuple(qualities))


def _subjects(request: ComparisonRequest, folder: Path, reporter: Reporter) -> Iterator[Subject]:
    yield from request.bundles
    if request.sources is not None:
        for recipe in request.recipes:
            yield request.sources.export(recipe, folder, reporter)


def subjects_of(paths: Sequence[Path]) -> tuple[Subject, ...]:
    """Bundles by their recipes' names; by their files' where two have the same or none."""
    names = []
    for path in paths:
        manifest = inspect_bundle(path).manifest
        names.append(str(manifest["recipe"]["name"]) if manifest else path.stem)
    return tuple(
        Subject(path.stem if names.count(name) > 1 else name, path)
        for name, path in zip(names, paths, strict=True)
    )
