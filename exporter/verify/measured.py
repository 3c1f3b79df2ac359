"""What running a bundle gives, before anything is compared with checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.bundle.inspection import FULL_BITS, Inspection
from exporter.contract import Dtype, Section
from exporter.progress import Reporter
from exporter.verify.allowed import GraphTolerance, float_tolerance, noise_tolerance
from exporter.verify.answers import Answer, answer_all
from exporter.verify.request import Request
from exporter.verify.rung import Rung
from exporter.verify.rungs import shapes as shapes_rung
from exporter.verify.sides.golden import draft_starts, probes
from exporter.verify.sides.graph_run import GraphRun, run_graphs, with_tail
from exporter.verify.sides.noise import measure_noise
from exporter.verify.texts import Text, one_text
from runtime_py.opened_model import OpenedModel


@dataclass(frozen=True)
class Measured:
    """A run of every signature, and the answers to the prompts."""

    text: Text
    run: GraphRun
    starts: tuple[int, ...]
    tolerance: GraphTolerance
    noise: float
    """Between a logit of decode and one of verify."""
    shapes: Rung
    answers: tuple[Answer, ...]


def measure(
    request: Request, inspection: Inspection, model: OpenedModel, reporter: Reporter
) -> Measured:
    """Run the bundle on the text, and answer the prompts."""
    executor, agreed = model.executor, model.executor.contract
    text = one_text(request.prompts, model.tokenizer, agreed)
    length = len(text.tokens)
    probed = with_tail(probes(length, agreed.vocab_size), length)
    starts = draft_starts(length, agreed.sliding_window, agreed.draft_length)
    with reporter.stage("Running every signature", None):
        run = run_graphs(executor, text.tokens, probed, starts)
    tolerance = float_tolerance(run)
    if rounds(inspection):
        with reporter.stage("Measuring what rounding moves", None):
            tolerance = noise_tolerance(measure_noise(executor, run))
    shapes, noise = shapes_rung.shapes_rung(run, tolerance.shapes)
    with reporter.stage("Answering the prompts in the reference runtime", None):
        answers = answer_all(
            executor, model.tokenizer, model.template, request.prompts, request.max_new_tokens
        )
    return Measured(text, run, starts, tolerance, noise, shapes, answers)


def rounds(inspection: Inspection) -> bool:
    """Whether the graphs round anything: activations before quantised weights, or caches."""
    agreed = inspection.contract
    int8_caches = agreed is not None and agreed.kv_dtype is Dtype.INT8
    return int8_caches or min(fewest_bits(inspection, section) for section in Section) < FULL_BITS


def fewest_bits(inspection: Inspection, section: Section) -> int:
    """Of the weights of a section; 32 where it has none."""
    model = inspection.models.get(section.value)
    groups = model.weights if model is not None else ()
    return min(
        (g.bits for g in groups if g.name.startswith(("target.", "drafter."))), default=FULL_BITS
    )
