"""A tuning from its checkpoints to the tuned drafter: a straight line through the stages."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import TUNING, Checkpoint
from exporter.checkpoints.pair import DRAFTER, TARGET, Pair
from exporter.checkpoints.source_hashes import Hashes
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Section
from exporter.files.output import check_folder_destination
from exporter.manifest import source_block
from exporter.model.text.drafter import Drafter
from exporter.progress import Reporter
from exporter.tune.chain import Source
from exporter.tune.deployment import Deployed, deploy, recipe_of
from exporter.tune.drafter_folder import DrafterFolder
from exporter.tune.drafter_weights import StoredDrafter, load_drafter
from exporter.tune.examples import examples
from exporter.tune.gain import compare
from exporter.tune.judge import Judged, judge
from exporter.tune.key import TUNING_VERSION, checkpoint_hashes, tuning_key
from exporter.tune.material import Said, Sources, hear, read_target
from exporter.tune.options import Plan, TuneError, TuningOptions
from exporter.tune.outcome import Effort, Speeds, TuningOutcome
from exporter.tune.questions import read_questions
from exporter.tune.speed import round_costs, speeds
from exporter.tune.split import require_enough
from exporter.tune.target_reading import TargetReader
from exporter.tune.training import Training, set_parameters
from exporter.tune.work_folder import WorkFolder
from exporter.version import tool_versions
from exporter.weights.matching import Weights, find_weights
from exporter.weights.parameters import parameter_specs
from exporter.weights.trained_codes import keep_trained_codes

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes; see getrusage(2) of macOS and of Linux."""


def tune(
    target: Checkpoint,
    drafter: Checkpoint,
    output: Path,
    work: Path,
    options: TuningOptions,
    reporter: Reporter,
    *,
    resume: bool = False,
) -> TuningOutcome:
    """Train a drafter on what a target answers, and write it if that was of use.

    Args:
        target: The target's checkpoint, with the adapter that it will be deployed with.
        drafter: The drafter that it begins with.
        output: The folder to write.
        work: The folder for what is made on the way; it is left.
        options: What the user chose.
        reporter: Told what is going on.
        resume: Go on in a work folder that is not empty.

    Raises:
        MtpExportError: One of its subclasses. What is in the work folder then serves ``resume``.
    """
    check_folder_destination(output, TUNING, force=options.force)
    questions = read_questions(options)
    require_enough(len(questions.users))
    pair = Pair.of(target, drafter)
    _check_drafter(drafter)
    hashes = checkpoint_hashes(pair, reporter)
    recipe, device = recipe_of(options, hashes[TARGET]), chosen_device(options.device)
    folder = WorkFolder.open(work, tuning_key(hashes, options, recipe, device), resume=resume)
    with folder.written(), folder.alone(), TensorReader() as reader:
        with folder.timed("answers"):
            deployed = deploy(target, drafter, options, recipe, work, reporter)
            said = hear(deployed.bundle, questions, options, work, reporter)
        weights = pair_weights(pair, reader)
        with folder.timed("features"):
            kept = keep_trained_codes(weights, {}, reporter).weights
            reading = TargetReader(pair.target_config, kept, recipe, device)
            sources = read_target(said, reading, work, reporter)
        writer = DrafterFolder.of(drafter, weights[Section.MTP_DRAFTER], reader)
        tuner = Tuner(pair, options, deployed, said, sources, writer, folder, reporter)
        return tuner.run(output, hashes)


@dataclass(frozen=True)
class Tuner:
    """Everything is there for the training."""

    pair: Pair
    options: TuningOptions
    deployed: Deployed
    said: Said
    sources: Sources
    writer: DrafterFolder
    folder: WorkFolder
    reporter: Reporter

    def run(self, output: Path, hashes: Hashes) -> TuningOutcome:
        """Judge, train, judge again, and write what came of it."""
        config = self.pair.drafter_config
        assert config is not None
        drafter = load_drafter(config, self.writer.weights, self.sources.training.device)
        with self.reporter.stage("Judging the drafter as it is", None):
            stored = StoredDrafter(drafter, self.writer.weights, self.deployed.recipe)
            before = self._reported(stored.of(drafter))
        plan = Plan.of(self.options, config.text.hidden_size, self.said.data.training_tokens)
        training = self._train(drafter, stored, plan)
        values = self.writer.rounded(training.progress.best)
        set_parameters(drafter, values)
        with self.reporter.stage("Judging the tuned drafter", None):
            after = self._reported(stored.of(drafter))
        outcome = self._outcome(before, after, training)
        if outcome.written:
            told = self._provenance(outcome, plan, hashes)
            self.writer.write(values, told, output, force=self.options.force)
        return outcome

    def _judged(self, drafter: Drafter, source: Source) -> Judged:
        return judge(drafter, source, self.options.draft_length)

    def _reported(self, drafter: Drafter) -> list[Judged]:
        """On held-out answers and, if there are any, on general ones."""
        sources = (self.sources.held_out, self.sources.general)
        return [self._judged(drafter, source) for source in sources if source is not None]

    def _train(self, drafter: Drafter, stored: StoredDrafter, plan: Plan) -> Training:
        def score(tuned: Drafter) -> float:
            return self._judged(stored.of(tuned), self.sources.watched).everywhere

        state = self.folder.path / "state.pt"
        training = Training(drafter, self.sources.training, plan, score, state)
        training.restore()
        with self.reporter.stage("Training", len(training.steps), " steps") as advance:
            training.run(advance, self.reporter.note)
        return training

    def _outcome(
        self, before: list[Judged], after: list[Judged], training: Training
    ) -> TuningOutcome:
        held_out, *general = (compare(b, a) for b, a in zip(before, after, strict=True))
        answers = self.said.split.held_out
        return TuningOutcome(
            target=_named(self.pair.target),
            drafter=_named(self.writer.checkpoint),
            recipe=self.deployed.recipe.name,
            draft_length=self.options.draft_length,
            held_out=held_out,
            general=general[0] if general else None,
            speeds=self._speeds(before[0], after[0]),
            data=self.said.data,
            effort=self._effort(training),
            course=tuple(training.progress.course),
            examples=examples(
                answers, before[0], after[0], self.said.questions, self.said.tokenizer
            ),
            written=held_out.is_gain or self.options.force,
        )

    def _speeds(self, before: Judged, after: Judged) -> Speeds | None:
        prompt = self.said.split.held_out[0].prompt
        with self.reporter.stage("Measuring what a round costs", None):
            costs = round_costs(self.deployed.bundle, self.options.draft_length, prompt)
        return None if costs is None else speeds(before, after, costs)

    def _effort(self, training: Training) -> Effort:
        seconds, progress = self.folder.seconds(), training.progress
        seen = sum(len(step) for step in training.steps[: progress.step])
        return Effort(
            steps=progress.step,
            planned_steps=len(training.steps),
            epochs=seen / len(self.said.split.training),
            answer_seconds=seconds["answers"],
            feature_seconds=seconds["features"],
            training_seconds=progress.seconds,
            feature_bytes=self.sources.nbytes,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT,
            device=str(self.sources.training.device),
        )

    def _provenance(self, outcome: TuningOutcome, plan: Plan, hashes: Hashes) -> dict[str, Any]:
        """What tuning.json says and a bundle's manifest quotes; nothing of when and where."""
        found, recipe = outcome.to_json(), self.deployed.recipe
        return {
            "tuning_version": TUNING_VERSION,
            "target": source_block(self.pair.target, hashes[TARGET], ()),
            "drafter": source_block(self.writer.checkpoint, hashes[DRAFTER], ()),
            "recipe": {"name": recipe.name, "rules": recipe.to_json()},
            "plan": {**plan.to_json(), "max_tokens": self.options.max_tokens},
            "steps": {"done": outcome.effort.steps, "planned": outcome.effort.planned_steps},
            "data": found["data"],
            "held_out": found["held_out"],
            "general": found["general"],
            "tools": tool_versions() | {"torch": torch.__version__},
        }


def _named(checkpoint: Checkpoint) -> str:
    adapter = checkpoint.adapter
    return checkpoint.source if adapter is None else f"{checkpoint.source} + {adapter.source}"


def chosen_device(name: str) -> torch.device:
    """The device of this name; ``auto`` is a GPU if torch finds one.

    Raises:
        TuneError: torch finds none, and one was asked for.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise TuneError("--device cuda: torch finds no such GPU; give --device cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and found) else "cpu")


def _check_drafter(drafter: Checkpoint) -> None:
    if drafter.packed:
        raise TuneError(
            f"{drafter.folder}: expected a drafter with float weights, found codes of a quantised one, which "
            "cannot be trained; give the checkpoint that it was made of"
        )


def pair_weights(pair: Pair, reader: TensorReader) -> Weights:
    """The weights of both, with the head that the drafter was trained with."""
    config = pair.drafter_config
    assert config is not None
    head = HeadKind.FULL if config.centroid_head is None else HeadKind.CENTROID
    specs = parameter_specs(pair.target_config, config, head)
    return find_weights(specs, pair.target, pair.drafter, reader)
