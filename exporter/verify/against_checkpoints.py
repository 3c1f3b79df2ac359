"""The rungs that need the checkpoints a bundle was made from.

Everything that loads torch is reached through here, so that a bundle can be verified by itself where
torch is not installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from exporter.bundle.inspection import FULL_BITS
from exporter.bundle.reader import Bundle
from exporter.checkpoints.architecture import HeadKind
from exporter.checkpoints.pair import Pair
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.contract import Contract, Dtype, Section
from exporter.progress import Reporter
from exporter.report.plots import Series
from exporter.verify.allowed import Allowed
from exporter.verify.rung import Rung, Verdict
from exporter.verify.rungs import drafter as drafter_rung
from exporter.verify.rungs import graphs as graph_rung
from exporter.verify.rungs import model as model_rung
from exporter.verify.rungs import quantisation as quantisation_rung
from exporter.verify.rungs import weights as weights_rung
from exporter.verify.rungs.quantisation import FloatModel
from exporter.verify.sides.golden import Ask, Golden, Question, missing
from exporter.verify.sides.graph_run import GraphRun
from exporter.verify.sides.stored_weights import UnreadableWeightError, stored_constants
from exporter.verify.sides.torch_pair import Pass, Source, TorchPair, from_bundle, from_checkpoints
from exporter.verify.titles import DRAFTER, GRAPHS, MODEL, WEIGHTS
from exporter.weights.matching import Weights, find_weights
from exporter.weights.parameters import parameter_specs
from quantize.recipe import Recipe
from runtime_py.litert.executor import LitertExecutor


@dataclass(frozen=True)
class Against:
    """What is compared with what."""

    bundle: Bundle
    pair: Pair
    head: HeadKind
    recipe: Recipe
    executor: LitertExecutor
    run: GraphRun
    fresh: int
    starts: tuple[int, ...]
    allowed: Allowed
    target_bits: int
    drafter_bits: int
    noise: float
    threads: int
    ask: Ask

    @property
    def stored_as_float(self) -> bool:
        return self.target_bits == self.drafter_bits == FULL_BITS


@dataclass(frozen=True)
class Stored:
    """The rungs on what the bundle stores; ``pair`` is our model with it, None if it cannot be read."""

    weights: Rung
    graphs: Rung
    pair: TorchPair | None = None
    lines: tuple[Series, ...] = ()


@dataclass(frozen=True)
class Findings:
    """Rungs by their key, and lines for the plots."""

    rungs: tuple[Rung, ...]
    position_errors: tuple[Series, ...]
    layer_errors: tuple[Series, ...]


@torch.no_grad()
def compare(against: Against, reporter: Reporter) -> Findings:
    """Every rung that looks at the checkpoints.

    Raises:
        MtpExportError: A checkpoint cannot be read, or transformers failed on it.
    """
    torch.set_num_threads(against.threads)
    pair = against.pair
    specs = parameter_specs(pair.target_config, pair.drafter_config, against.head)
    with TensorReader() as reader:
        weights = find_weights(specs, pair.target, pair.drafter, reader)
        return _compare(against, weights, reporter)


def _compare(against: Against, weights: Weights, reporter: Reporter) -> Findings:
    run = against.run
    with reporter.stage("Running the float model in torch", None):
        agreed = replace(against.executor.contract, kv_dtype=Dtype.FLOAT32)
        model = _torch_pair(against, from_checkpoints(weights), agreed)
        whole = model.read(run.tokens, run.probes)
    golden, reason = _ask(against, reporter)
    positions, layers = [], []
    if golden is not None:
        first, errors = model_rung.model_rung(whole, golden)
        positions.append(_series("torch, transformers", errors.positions, errors.logits))
        layers.append(_series("torch, transformers", range(len(errors.layers)), errors.layers))
    else:
        first = MODEL.skipped(reason)
    stored = _stored_rungs(against, weights, model, reporter)
    quantisation = quantisation_rung.quantisation_rung(
        run, _float_model(whole, golden), against.fresh, against.target_bits, against.noise
    )
    drafter = _drafter_rung(against, model, stored, golden, reason)
    rungs = (stored.weights, first, stored.graphs, quantisation, drafter)
    return Findings(rungs, (*positions, *stored.lines), tuple(layers))


def _torch_pair(against: Against, source: Source, agreed: Contract) -> TorchPair:
    config = against.pair.drafter_config
    drafter = None if config is None else (config, against.head)
    return TorchPair(against.pair.target_config, drafter, agreed, source)


def _parameters(against: Against) -> dict[Section, list[str]]:
    """Names of what the bundle's graphs have as constants: weights, and scales of int8 caches."""
    configs = against.pair.target_config, against.pair.drafter_config
    specs = parameter_specs(*configs, against.head, against.executor.contract.kv_dtype)
    return {section: list(found) for section, found in specs.items()}


def _ask(against: Against, reporter: Reporter) -> tuple[Golden | None, str]:
    """Transformers' answer, or why there is none."""
    pair, run = against.pair, against.run
    if reason := missing(pair.target, pair.drafter):
        return None, reason
    drafts = against.executor.draft_length
    starts = against.starts if drafts else ()
    question = Question(run.tokens, run.probes, starts, drafts)
    with reporter.stage("Running transformers", None):
        return against.ask(pair.target, pair.drafter, question, against.threads), ""


def _stored_rungs(
    against: Against, weights: Weights, model: TorchPair, reporter: Reporter
) -> Stored:
    """The rungs on stored weights, and on the graphs that use them."""
    try:
        with reporter.stage("Comparing stored weights and graphs", None):
            constants = stored_constants(against.bundle)
            stored = weights_rung.weights_rung(weights, constants, against.recipe)
            same = against.stored_as_float and stored.verdict is Verdict.PASS
            kept = model
            if not same:
                source = from_bundle(_parameters(against), constants)
                kept = _torch_pair(against, source, against.executor.contract)
            graphs, errors = graph_rung.graph_rung(
                against.executor, against.run, kept, against.allowed
            )
    except UnreadableWeightError as error:
        reason = str(error)
        return Stored(WEIGHTS.skipped(reason), GRAPHS.skipped(reason))
    line = _series("LiteRT, torch", errors.positions, errors.logits)
    return Stored(stored, graphs, kept, (line,))


def _float_model(whole: Pass, golden: Golden | None) -> FloatModel:
    if golden is not None:
        return FloatModel(golden.arrays["logits"], "transformers, float32")
    return FloatModel(whole.logits.numpy(), "our torch model, float32")


def _drafter_rung(
    against: Against, model: TorchPair, stored: Stored, golden: Golden | None, reason: str
) -> Rung:
    if not against.executor.draft_length:
        return DRAFTER.skipped("the bundle has no drafter")
    if model.drafter is None:
        return DRAFTER.skipped("no --drafter given; with --drafter CHECKPOINT it runs")
    if golden is None:
        return DRAFTER.skipped(reason)
    if stored.pair is None:
        return DRAFTER.skipped(f"the bundle's weights cannot be read back: {stored.weights.note}")
    return drafter_rung.drafter_rung(
        model,
        against.executor,
        golden,
        against.drafter_bits,
        stored.pair,
        against.allowed,
    )


def _series(name: str, x: Sequence[int], y: Sequence[float]) -> Series:
    return Series(name, tuple(x), tuple(y))
