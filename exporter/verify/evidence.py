"""What the rungs look at: a bundle, what it computes, and the checkpoints that it was made from.

Every part is made when the first rung asks for it, and kept for the next. Only what has to do with
checkpoints loads torch, so that a bundle can be verified by itself where torch is not installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.bundle.graph_reader import BITS
from exporter.bundle.inspection import FULL_BITS, Inspection, inspect_bundle
from exporter.bundle.reader import open_bundle
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.pair import DRAFTER, TARGET, Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract.names import Accelerator, Dtype, Section
from exporter.manifest import stored_head
from exporter.progress import Reporter
from exporter.report.plots import Series
from exporter.verify.allowed import (
    GRAPH_REASON,
    SHAPES_REASON,
    Allowed,
    allowed_by_noise,
    allowed_everywhere,
)
from exporter.verify.answers import PromptAnswers, answer_all
from exporter.verify.compare import bridged
from exporter.verify.medium_evidence import MediumEvidence, MediumSources, kinds_of
from exporter.verify.mtp import judge_mtp
from exporter.verify.rung import Rung, Verdict
from exporter.verify.sides.engine import EngineAnswers, ask_engine
from exporter.verify.sides.golden import Ask, Golden, Question, draft_starts, missing, probes
from exporter.verify.sides.graph_run import GraphRun, run_graphs, with_tail
from exporter.verify.sides.noise import measure_noise
from exporter.verify.sides.stored_weights import StoredConstants, stored_constants
from exporter.verify.texts import Text, one_text
from exporter.verify.tolerances import GRAPH_FLOAT, SHAPES_FLOAT
from exporter.weights.matching import Weights, find_weights
from exporter.weights.parameters import parameter_specs
from runtime_py.bench.verdict import MtpVerdict
from runtime_py.chat.conversation import Conversation
from runtime_py.chat.media import Medium
from runtime_py.engine.stock_engine import EngineSettings
from runtime_py.litert.hardware import Hardware
from runtime_py.opened_model import OpenedModel, open_model

if TYPE_CHECKING:
    from exporter.verify.sides.torch_pair import Pass, Source, TorchPair


@dataclass(frozen=True)
class VerifyRequest:
    """What to verify, against what, and how."""

    bundle: Path
    target: Checkpoint | None
    drafter: Checkpoint | None
    prompts: tuple[str, ...]
    accelerator: Accelerator
    threads: int
    max_new_tokens: int
    onnx: Path | None = None
    """The folder of the same export, made with ``--format onnx``."""

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """Those that were given, by their role."""
        given = {TARGET: self.target, DRAFTER: self.drafter}
        return {role: found for role, found in given.items() if found is not None}


class Evidence:
    """Everything that rungs compare, and what they found so far.

    ``stack`` closes what was opened. ``asking`` asks transformers.
    """

    def __init__(
        self, request: VerifyRequest, reporter: Reporter, asking: Ask, stack: ExitStack
    ) -> None:
        self.request, self.reporter = request, reporter
        self._asking, self._stack = asking, stack
        self.bundle = open_bundle(request.bundle)
        self.rungs: list[Rung] = []
        self.notes: list[str] = []
        self.position_errors: list[Series] = []
        """Lines of the plot of errors by position in the text."""
        self.layer_errors: list[Series] = []

    # --- the bundle by itself ---------------------------------------------------------------------

    @cached_property
    def inspection(self) -> Inspection:
        """The bundle's structure."""
        return inspect_bundle(self.request.bundle)

    @cached_property
    def model(self) -> OpenedModel:
        """The bundle in the reference runtime."""
        hardware = Hardware(self.request.accelerator, self.request.threads)
        drafting = self.inspection.has_drafter
        return self._stack.enter_context(
            open_model(self.request.bundle, hardware, drafting=drafting)
        )

    @cached_property
    def text(self) -> Text:
        """The prompts as one text."""
        return one_text(self.request.prompts, self.model.tokenizer, self.model.executor.contract)

    @cached_property
    def run(self) -> GraphRun:
        """What every signature computes on the text."""
        executor, tokens = self.model.executor, self.text.tokens
        agreed, length = executor.contract, len(tokens)
        probed = with_tail(probes(length, agreed.vocab_size), length)
        starts = draft_starts(length, agreed.sliding_window, agreed.draft_length)
        with self.reporter.stage("Running every signature", None):
            return run_graphs(executor, tokens, probed, starts)

    @cached_property
    def rounds(self) -> bool:
        """Whether the graphs round anything: activations before quantised weights, or caches."""
        return min(map(self.fewest_bits, Section)) < FULL_BITS

    @cached_property
    def allowed(self) -> Allowed:
        """What LiteRT may differ by from torch and from ONNX Runtime."""
        run = self.run
        if not self.rounds:
            return allowed_everywhere(GRAPH_FLOAT, run, GRAPH_REASON)
        with self.reporter.stage("Measuring what rounding moves", None):
            return allowed_by_noise(measure_noise(self.model.executor, run))

    @cached_property
    def allowed_between_shapes(self) -> Allowed:
        """What signatures may differ by from each other."""
        if self.rounds:
            return self.allowed
        return allowed_everywhere(SHAPES_FLOAT, self.run, SHAPES_REASON)

    @cached_property
    def noise(self) -> float:
        """Between a logit of decode and one of verify."""
        most = self.allowed_between_shapes.most
        return bridged(self.run.decoded_logits, self.run.tail_logits(), most)

    @cached_property
    def answers(self) -> tuple[PromptAnswers, ...]:
        """The prompts answered in the reference runtime."""
        model, asked = self.model, self.request
        with self.reporter.stage("Answering the prompts in the reference runtime", None):
            return answer_all(
                model.executor, model.tokenizer, model.template, asked.prompts, asked.max_new_tokens
            )

    @cached_property
    def mtp(self) -> MtpVerdict | None:
        """What MTP brings; None while a rung says that something is wrong with the bundle."""
        if any(rung.verdict is Verdict.FAIL for rung in self.rungs):
            return None
        answers = self.answers
        with self.reporter.stage("Measuring what rounds cost", None):
            return judge_mtp(self.model.executor, answers, self.text.tokens)

    @cached_property
    def engine(self) -> EngineAnswers:
        """The prompts answered in the stock engine, or why they are not."""
        return self.ask_engine([Conversation.asking(answer.prompt) for answer in self.answers])

    def ask_engine(self, conversations: Sequence[Conversation]) -> EngineAnswers:
        """Conversations in the stock engine, or why they are not answered."""
        agreed, asked = self.model.executor.contract, self.request
        settings = EngineSettings(
            asked.bundle,
            mtp=False,
            max_new_tokens=asked.max_new_tokens,
            accelerator=asked.accelerator,
            threads=asked.threads,
            full_precision=True,
        )
        return ask_engine(settings, conversations, agreed, self.reporter)

    @cached_property
    def media(self) -> tuple[MediumEvidence, ...]:
        """What there is to compare of pictures and of sound, as far as the bundle takes them."""
        asked = self.request
        sources = MediumSources(
            self.inspection,
            Hardware(asked.accelerator, asked.threads),
            asked.target,
            asked.prompts,
            asked.max_new_tokens,
            model=lambda: self.model,
            weights=lambda: self.weights,
            constants=lambda: self.constants,
        )
        return tuple(
            MediumEvidence(kind, sources, self.reporter, self._stack)
            for kind in kinds_of(self.inspection)
        )

    def medium(self, medium: Medium) -> MediumEvidence | None:
        """Of these, pictures or sound; None where the bundle takes none."""
        return next((found for found in self.media if found.kind.medium is medium), None)

    def fewest_bits(self, section: Section) -> int:
        """Of the weights of a section, and of the caches; 32 where it has no weights."""
        model = self.inspection.models.get(section.value)
        groups = model.weights if model is not None else ()
        bits = [g.bits for g in groups if g.name.startswith(("target.", "drafter."))]
        return min([*bits, BITS[self.model.executor.contract.kv_dtype.value]])

    # --- the checkpoints --------------------------------------------------------------------------

    @cached_property
    def pair(self) -> Pair:
        """The checkpoints; only for rungs that need a target."""
        assert self.request.target is not None
        return Pair.of(self.request.target, self.request.drafter)

    @property
    def head(self) -> HeadKind:
        """Which of the drafter's heads the bundle has."""
        manifest = self.inspection.manifest or {}
        return stored_head(manifest) or HeadKind.FULL

    @cached_property
    def weights(self) -> Weights:
        """The checkpoints' weights."""
        target, drafter = self.pair.target, self.pair.drafter
        specs = parameter_specs(self.pair.target_config, self.pair.drafter_config, self.head)
        reader = self._stack.enter_context(TensorReader())
        found = find_weights(specs, target, drafter, reader)
        table = found[Section.EMBEDDER]["weight"]
        for medium in self.media:
            found = {**found, **medium.find_weights(table)}
        return found

    @cached_property
    def constants(self) -> StoredConstants:
        """The weights as the bundle stores them.

        Raises:
            UnreadableWeightError: One is stored in a layout that cannot be read back.
        """
        return stored_constants(self.bundle)

    @cached_property
    def golden(self) -> Golden | None:
        """What transformers computes; None if it cannot be asked, which :attr:`no_golden` explains."""
        if self.no_golden:
            return None
        run, drafts = self.run, self.model.executor.draft_length
        question = Question(run.tokens, run.probes, run.starts, drafts)
        with self.reporter.stage("Running transformers", None):
            return self._asking(self.pair.target, self.pair.drafter, question, self.request.threads)

    @cached_property
    def no_golden(self) -> str:
        """Why transformers cannot be asked; empty if it can."""
        return missing(self.pair.target, self.pair.drafter)

    @cached_property
    def float_pair(self) -> TorchPair:
        """Our model with the checkpoints' weights."""
        from exporter.verify.sides.torch_pair import from_checkpoints

        return self._torch_pair(from_checkpoints(self.weights), Dtype.FLOAT32)

    @cached_property
    def float_pass(self) -> Pass:
        """The text through that model."""
        run = self.run
        with self.reporter.stage("Running the float model in torch", None):
            return self.float_pair.read(run.tokens, run.probes)

    @cached_property
    def stored_pair(self) -> TorchPair:
        """Our model with the bundle's weights and caches.

        Raises:
            UnreadableWeightError: A weight is stored in a layout that cannot be read back.
        """
        from exporter.verify.sides.torch_pair import from_bundle

        if not self.rounds and self.passed("weights"):
            return self.float_pair
        kv_dtype = self.model.executor.contract.kv_dtype
        configs = self.pair.target_config, self.pair.drafter_config
        names = parameter_specs(*configs, self.head, kv_dtype)  # with the scales of int8 caches
        return self._torch_pair(from_bundle(names, self.constants), kv_dtype)

    def _torch_pair(self, source: Source, kv_dtype: Dtype) -> TorchPair:
        import torch

        from exporter.verify.sides.torch_pair import TorchPair

        torch.set_num_threads(self.request.threads)
        config = self.pair.drafter_config
        drafter = None if config is None else (config, self.head)
        agreed = replace(self.model.executor.contract, kv_dtype=kv_dtype)
        return TorchPair(self.pair.target_config, drafter, agreed, source)

    def release_checkpoints(self) -> None:
        """Give up what is large and made of checkpoints; it is made again if a rung asks for it."""
        for name in ("float_pair", "float_pass", "stored_pair", "golden", "weights", "constants"):
            vars(self).pop(name, None)
        for medium in self.media:
            medium.release()

    def passed(self, key: str) -> bool:
        """Whether a rung that was judged before has passed."""
        return any(rung.key == key and rung.verdict is Verdict.PASS for rung in self.rungs)
