"""What the rungs about pictures or sound look at; made when the first of them asks, and kept for the next."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.bundle.inspection import FULL_BITS, Inspection
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.contract.names import EMBEDDINGS, Accelerator
from exporter.plan.towers import tower_weights
from exporter.progress import Reporter
from exporter.verify.answers import PromptAnswers
from exporter.verify.picture_kind import PictureKind
from exporter.verify.sides.media_replies import (
    MediaQuestion,
    MediaReply,
    answer_questions,
    measure_reply_noise,
    media_questions,
)
from exporter.verify.sides.stored_weights import StoredConstants
from exporter.verify.sides.tower_golden import Encoded, ask_tower, missing_for_tower
from exporter.verify.sides.tower_run import (
    FLOAT_STEPS,
    TowerNoise,
    TowerRun,
    measure_tower_noise,
    run_tower,
)
from exporter.verify.sound_kind import SoundKind
from exporter.verify.tower_kind import DescribedTower, TowerKind
from exporter.weights.matching import Weight, Weights
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.towers import TowerGraphs
from runtime_py.opened_model import OpenedModel

if TYPE_CHECKING:
    from exporter.verify.sides.torch_tower import TorchTower


@dataclass(frozen=True)
class MediumSources:
    """Where evidence about pictures or sound comes from; what is costly is asked for when it is needed."""

    inspection: Inspection
    hardware: Hardware
    target: Checkpoint | None
    prompts: tuple[str, ...]
    max_new_tokens: int
    model: Callable[[], OpenedModel]
    weights: Callable[[], Weights]
    constants: Callable[[], StoredConstants]


def kinds_of(inspection: Inspection) -> tuple[TowerKind, ...]:
    """What a bundle takes beside text."""
    pictures, sound = inspection.pictures, inspection.sound
    kinds: list[TowerKind] = [] if pictures is None else [PictureKind(pictures)]
    return tuple(kinds) if sound is None else (*kinds, SoundKind(sound))


class MediumEvidence:
    """Everything that is compared of one kind of tower; ``stack`` closes what was opened."""

    def __init__(
        self, kind: TowerKind, sources: MediumSources, reporter: Reporter, stack: ExitStack
    ) -> None:
        self.kind, self.sources = kind, sources
        self._reporter, self._stack = reporter, stack

    @property
    def plural(self) -> str:
        """What is encoded, for a reader."""
        return f"{self.kind.medium.noun}s"

    @property
    def accelerator(self) -> Accelerator:
        """What the graphs were written for."""
        agreed = self.sources.inspection.contract
        return Accelerator.CPU if agreed is None else agreed.accelerator

    @property
    def for_gpu(self) -> bool:
        """Whether that is a GPU."""
        return self.accelerator is Accelerator.GPU

    @property
    def rounds(self) -> bool:
        """Whether tower or adapter have weights before which activations are rounded."""
        sections = self.kind.names.sections
        models = (self.sources.inspection.models[section.value] for section in sections)
        bits = [group.bits for model in models for group in model.weights if group.bits]
        return min(bits, default=FULL_BITS) < FULL_BITS

    @cached_property
    def graphs(self) -> TowerGraphs:
        """The sections in LiteRT."""
        graphs = self.kind.graphs(self.sources.inspection.bundle, self.sources.hardware)
        return self._stack.enter_context(closing(graphs))

    @cached_property
    def runs(self) -> tuple[TowerRun, ...]:
        """What they make of samples."""
        with self._reporter.stage(f"Encoding {self.plural} in LiteRT", None):
            return run_tower(self.graphs, self.kind.inputs())

    @cached_property
    def noise(self) -> tuple[TowerNoise, ...]:
        """How far roundings move that."""
        with self._reporter.stage(f"Measuring what rounding moves in {self.plural}", None):
            steps = 1.0 if self.rounds else FLOAT_STEPS
            return tuple(measure_tower_noise(self.graphs, run, steps) for run in self.runs)

    # --- the checkpoint ---------------------------------------------------------------------------

    @cached_property
    def described(self) -> DescribedTower:
        """The target's tower; only for a target that has one."""
        found = self.kind.described(self.target, self.text_width, self.accelerator)
        assert found is not None
        return found

    @property
    def target(self) -> Checkpoint:
        """Only for rungs that need one."""
        assert self.sources.target is not None
        return self.sources.target

    @property
    def text_width(self) -> int:
        """H, as the graphs have it."""
        return self.kind.contract.end_signature().outputs[EMBEDDINGS].shape[-1]

    def find_weights(self, table: Weight) -> Weights:
        """The tower's weights in the target, whose token table is ``table``."""
        described = self.described
        return tower_weights(self.target, self.kind.marks, described.layout, described.specs, table)

    @cached_property
    def no_golden(self) -> str:
        """Why transformers cannot be asked; empty if it can."""
        weights, activations = self.sources.weights(), self.described.activations
        return missing_for_tower(self.target, self.kind.names, weights, activations)

    def ask_transformers(self, threads: int) -> tuple[Encoded, ...]:
        """What transformers makes of the samples, padded alike."""
        inputs = [run.given for run in self.runs]
        with self._reporter.stage(f"Encoding {self.plural} in transformers", None):
            weights = self.sources.weights()
            return ask_tower(self.target, self.kind.names, weights, inputs, threads)

    @cached_property
    def float_tower(self) -> TorchTower:
        """Our tower with the checkpoint's weights."""
        from exporter.verify.sides.torch_pair import from_checkpoints

        return self.described.in_torch(from_checkpoints(self.sources.weights()), False)

    @cached_property
    def stored_tower(self) -> TorchTower:
        """Our tower with the bundle's weights.

        Raises:
            UnreadableWeightError: A weight is stored in a layout that cannot be read back.
        """
        from exporter.verify.sides.torch_tower import tower_from_bundle

        prefix, specs = self.described.layout.recipe_prefix, self.described.specs
        stored = self.sources.constants()
        source = tower_from_bundle(self.kind.names, prefix, specs, stored)
        return self.described.in_torch(source, self.for_gpu)

    def release(self) -> None:
        """Give up what is large and made of checkpoints; it is made again if a rung asks for it."""
        for name in ("float_tower", "stored_tower"):
            vars(self).pop(name, None)

    # --- answers ----------------------------------------------------------------------------------

    @cached_property
    def questions(self) -> tuple[MediaQuestion, ...]:
        """Prompts with pictures or clips that the engine takes as they are."""
        name = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mtp-export-asked-"))
        return media_questions(
            self.kind.medium, self.kind.asked(), self.sources.prompts, Path(name)
        )

    @cached_property
    def replies(self) -> tuple[MediaReply, ...]:
        """The questions answered in the reference runtime, as far as they fit into the cache."""
        model, most = self.sources.model(), self.sources.max_new_tokens
        with self._reporter.stage(f"Answering about {self.plural} in the reference runtime", None):
            return tuple(answer_questions(model, self.graphs, self.questions, most))

    @cached_property
    def reply_noise(self) -> float:
        """What a margin may be that is bridged because the engine's tower is not given quite what ours is."""
        model, steps = self.sources.model(), self.kind.engine_differs
        if not steps:
            return 0.0
        with self._reporter.stage(f"Measuring what moves answers about {self.plural}", None):
            found = (
                measure_reply_noise(model, self.graphs, reply, steps) for reply in self.replies
            )
            return max(found, default=0.0)

    @property
    def answers(self) -> tuple[PromptAnswers, ...]:
        """Of these, the answers alone."""
        return tuple(reply.answer for reply in self.replies)
