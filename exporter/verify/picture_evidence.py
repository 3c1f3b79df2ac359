"""What the rungs about pictures look at; made when the first of them asks, and kept for the next."""

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
from exporter.checkpoints.configs.vision import parse_vision
from exporter.checkpoints.tensors.tower_names import VISION
from exporter.checkpoints.vision_architecture import VisionConfig
from exporter.contract.names import Accelerator
from exporter.contract.vision import VisionContract
from exporter.progress import Reporter
from exporter.verify.answers import PromptAnswers
from exporter.verify.pictures import sample_pictures, unresized_pictures
from exporter.verify.sides.picture_golden import Seen, ask_tower, missing_for_tower
from exporter.verify.sides.picture_replies import (
    PictureQuestion,
    PictureReply,
    answer_questions,
    picture_questions,
)
from exporter.verify.sides.picture_run import (
    FLOAT_STEPS,
    PictureNoise,
    PictureRun,
    measure_picture_noise,
    run_pictures,
)
from exporter.verify.sides.stored_weights import StoredConstants
from exporter.weights.matching import Weights
from exporter.weights.vision_parameters import vision_parameter_specs
from runtime_py.litert.hardware import Hardware
from runtime_py.litert.pictures import PictureGraphs
from runtime_py.opened_model import OpenedModel

if TYPE_CHECKING:
    from exporter.verify.sides.torch_tower import TorchTower


@dataclass(frozen=True)
class PictureSources:
    """Where evidence about pictures comes from; what is costly is asked for when it is needed."""

    contract: VisionContract
    inspection: Inspection
    hardware: Hardware
    target: Checkpoint | None
    prompts: tuple[str, ...]
    max_new_tokens: int
    model: Callable[[], OpenedModel]
    weights: Callable[[], Weights]
    constants: Callable[[], StoredConstants]


class PictureEvidence:
    """Everything that is compared of a bundle that takes pictures; ``stack`` closes what was opened."""

    def __init__(self, sources: PictureSources, reporter: Reporter, stack: ExitStack) -> None:
        self.sources, self.contract = sources, sources.contract
        self._reporter, self._stack = reporter, stack

    @property
    def shrink(self) -> int:
        """Patches that become one soft token."""
        return self.contract.pooling**2

    @property
    def for_gpu(self) -> bool:
        """Whether the graphs were written for a GPU."""
        agreed = self.sources.inspection.contract
        return agreed is not None and agreed.accelerator is Accelerator.GPU

    @property
    def rounds(self) -> bool:
        """Whether tower or adapter have weights before which activations are rounded."""
        models = (self.sources.inspection.models[section.value] for section in VISION.sections)
        bits = [group.bits for model in models for group in model.weights if group.bits]
        return min(bits, default=FULL_BITS) < FULL_BITS

    @cached_property
    def graphs(self) -> PictureGraphs:
        """The sections for pictures in LiteRT."""
        bundle, hardware = self.sources.inspection.bundle, self.sources.hardware
        opened = closing(PictureGraphs(bundle, self.contract, hardware))
        return self._stack.enter_context(opened)

    @cached_property
    def runs(self) -> tuple[PictureRun, ...]:
        """What they make of pictures."""
        with self._reporter.stage("Encoding pictures in LiteRT", None):
            return run_pictures(self.graphs, sample_pictures(self.contract))

    @cached_property
    def noise(self) -> tuple[PictureNoise, ...]:
        """How far roundings move that."""
        with self._reporter.stage("Measuring what rounding moves in pictures", None):
            steps = 1.0 if self.rounds else FLOAT_STEPS
            return tuple(measure_picture_noise(self.graphs, run, steps) for run in self.runs)

    # --- the checkpoint ---------------------------------------------------------------------------

    @cached_property
    def config(self) -> VisionConfig:
        """The target's tower; only for a target that has one."""
        assert self.sources.target is not None
        found = parse_vision(self.sources.target.config, str(self.sources.target.folder))
        assert found is not None
        return found

    @cached_property
    def no_golden(self) -> str:
        """Why transformers cannot be asked; empty if it can."""
        assert self.sources.target is not None
        scores = self.config.heads * self.contract.max_patches**2
        return missing_for_tower(self.sources.target, self.sources.weights(), scores)

    def ask_transformers(self, threads: int) -> tuple[Seen, ...]:
        """What transformers makes of the pictures, padded to their signature's patches."""
        assert self.sources.target is not None
        padded = [run.patches.padded(run.sample.tokens * self.shrink) for run in self.runs]
        with self._reporter.stage("Encoding pictures in transformers", None):
            return ask_tower(self.sources.target, self.sources.weights(), padded, threads)

    @cached_property
    def float_tower(self) -> TorchTower:
        """Our tower with the checkpoint's weights."""
        from exporter.verify.sides.torch_pair import from_checkpoints
        from exporter.verify.sides.torch_tower import TorchTower

        source = from_checkpoints(self.sources.weights())
        return TorchTower(self.config, self.contract.hidden_size, source)

    @cached_property
    def stored_tower(self) -> TorchTower:
        """Our tower with the bundle's weights.

        Raises:
            UnreadableWeightError: A weight is stored in a layout that cannot be read back.
        """
        from exporter.verify.sides.torch_tower import TorchTower, tower_from_bundle

        specs = vision_parameter_specs(self.config, self.contract.hidden_size)
        source, width = (
            tower_from_bundle(specs, self.sources.constants()),
            self.contract.hidden_size,
        )
        return TorchTower(self.config, width, source, for_gpu=self.for_gpu)

    def release(self) -> None:
        """Give up what is large and made of checkpoints; it is made again if a rung asks for it."""
        for name in ("float_tower", "stored_tower"):
            vars(self).pop(name, None)

    # --- answers ----------------------------------------------------------------------------------

    @cached_property
    def questions(self) -> tuple[PictureQuestion, ...]:
        """Prompts with pictures that the engine does not resize."""
        name = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mtp-export-pictures-"))
        return picture_questions(
            unresized_pictures(self.contract), self.sources.prompts, Path(name)
        )

    @cached_property
    def replies(self) -> tuple[PictureReply, ...]:
        """The questions answered in the reference runtime, as far as they fit into the cache."""
        model, most = self.sources.model(), self.sources.max_new_tokens
        with self._reporter.stage("Answering about pictures in the reference runtime", None):
            return tuple(answer_questions(model, self.graphs, self.questions, most))

    @property
    def answers(self) -> tuple[PromptAnswers, ...]:
        """Of these, the answers alone."""
        return tuple(reply.answer for reply in self.replies)
