"""What an export will make of what: everything is looked at here, and nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.agreement import choose_head, make_contract
from exporter.calibrate.stage import calibration_text
from exporter.calibrate.text import CalibrationText
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.assets.assets import Assets, read_assets
from exporter.checkpoints.assets.template_choice import TemplateChoice
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.conflicts import check_options, check_recipe
from exporter.contract.media import Media
from exporter.contract.names import Section, TensorSpec
from exporter.contract.text import Contract
from exporter.formats import Format, format_of
from exporter.lowering.tower import TowerRequest
from exporter.lowering.units import LoweringRequest
from exporter.options import ExportOptions
from exporter.plan.audio import AudioPlan, plan_audio
from exporter.plan.towers import TowerPlan, with_weights_of
from exporter.plan.vision import VisionPlan, plan_vision
from exporter.progress import Reporter
from exporter.templates.fitting import RenderInEngine
from exporter.weights.matching import Weights, WeightSpecs, find_weights
from exporter.weights.parameters import parameter_specs
from exporter.weights.trained_codes import Kept, keep_trained_codes
from quantize.builtin_recipes import covering_towers


@dataclass(frozen=True)
class ExportPlan:
    """The checkpoints, the options, and all that has been decided from them."""

    pair: Pair
    output: Path
    options: ExportOptions
    form: Format
    assets: Assets
    head: HeadKind
    contract: Contract
    kept: Kept
    """The weights; some have the codes of their training."""
    text: CalibrationText | None
    """What the models will be run over, where the options ask for that."""
    vision: VisionPlan | None
    """What will be made of the vision tower; None for a bundle that takes no pictures."""
    audio: AudioPlan | None
    """What will be made of the audio tower; None for a bundle that takes no sound."""

    @property
    def request(self) -> LoweringRequest:
        """All that the graphs depend on."""
        pair, lowered = self.pair, self.contract.as_lowered()
        return LoweringRequest(pair.target_config, pair.drafter_config, self.head, lowered)

    def graph_weights(self) -> WeightSpecs:
        """What the graphs take: the models' weights and, of int8 caches, scales."""
        configs = self.pair.target_config, self.pair.drafter_config
        found: dict[Section, Mapping[str, TensorSpec]] = {
            **parameter_specs(*configs, self.head, self.contract.kv_dtype)
        }
        for tower in self.towers:
            found |= tower.specs
        return found

    @property
    def towers(self) -> tuple[TowerPlan[TowerRequest], ...]:
        """The plans of those towers that become part of the bundle."""
        return tuple(tower for tower in (self.vision, self.audio) if tower is not None)

    @property
    def media(self) -> Media:
        """What the graphs for pictures and sound take."""
        return Media(
            None if self.vision is None else self.vision.request.contract,
            None if self.audio is None else self.audio.request.contract,
        )

    def with_towers(self, weights: Weights) -> Weights:
        """Weights of the text model and its drafter, and those of the towers."""
        return with_weights_of(weights, self.towers)


def make_plan(
    pair: Pair,
    output: Path,
    options: ExportOptions,
    reader: TensorReader,
    reporter: Reporter,
    render: RenderInEngine | None = None,
) -> ExportPlan:
    """Read what there is and decide what will be made.

    Args:
        pair: The checkpoints.
        output: What is to be made.
        options: How.
        reader: Reads the checkpoints' tensors, now and later.
        reporter: Told what was put right, left out and chosen.
        render: The engine, to try the chat template on.

    Raises:
        MtpExportError: One of its subclasses: the export cannot be made.
    """
    check_options(options, drafter=pair.drafter is not None)
    form = format_of(options.format)
    form.check_destination(output, force=options.force)
    assets = read_assets(
        pair.target, pair.target_config, TemplateChoice(options.chat_template, render)
    )
    head = choose_head(pair.drafter_config, options)
    contract = make_contract(pair.target_config, pair.drafter_config, options)
    specs = parameter_specs(pair.target_config, pair.drafter_config, head)
    weights = find_weights(specs, pair.target, pair.drafter, reader)
    embedding = weights[Section.EMBEDDER]["weight"]
    vision, pictures_told = plan_vision(pair.target, assets, embedding, options)
    audio, sound_told = plan_audio(pair.target, assets, embedding, options)
    towers = tuple(tower for tower in (vision, audio) if tower is not None)
    kinds = [tower.request.kind for tower in towers]
    options = replace(options, recipe=covering_towers(options.recipe, kinds))
    every = with_weights_of(weights, towers)
    check_recipe(options, every)
    text = calibration_text(options, assets)
    beside = with_weights_of({}, towers)
    kept = Kept(every, {}) if options.requantize else keep_trained_codes(weights, beside, reporter)
    for note in (*pair.notes(), *assets.notes, *kept.notes(), *pictures_told, *sound_told):
        reporter.note(note)
    vision = vision and replace(vision, weights=kept.of(vision.weights))
    audio = audio and replace(audio, weights=kept.of(audio.weights))
    kept = replace(kept, weights=kept.of(weights))
    return ExportPlan(
        pair, output, options, form, assets, head, contract, kept, text, vision, audio
    )
