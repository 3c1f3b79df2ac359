"""Rung: ONNX Runtime computes what LiteRT computes, from the folder of the same export.

The two share torch modules and stored weights, and no converter and no kernel: what is wrong in both
was wrong before they parted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporter.bundle.onnx_folder import OnnxFolder, open_folder
from exporter.extras import require_onnx
from exporter.verify.allowed import Allowed, nearest_to_limit
from exporter.verify.answers import Answered, PromptAnswers, answer_all
from exporter.verify.compare import bridged, compare_choices, position_errors
from exporter.verify.evidence import Evidence, VerifyRequest
from exporter.verify.rung import Figure, NearTie, Rung, Title
from exporter.verify.sides.graph_run import GraphRun, run_graphs, slots
from runtime_py.same_text import first_difference

TITLE = Title(
    "onnx",
    "ONNX Runtime gives LiteRT's numbers and tokens",
    "Make the folder again with export --format onnx and the options of the bundle, and look at "
    "onnxruntime's version (the extra onnx installs one that was tested).",
)

SAME = ("contract", "recipe", "sources", "options")
"""Blocks of the manifest in which bundle and folder must agree."""


def require_folder(path: Path) -> None:
    """Refuse early what cannot be run later.

    Raises:
        BundleError: The folder is none.
        MissingExtraError: The ``onnx`` extra is not installed.
    """
    require_onnx()
    open_folder(path)


def judge(evidence: Evidence) -> Rung:
    """Run the folder on what the bundle was run on, and compare.

    Raises:
        BundleError: The folder is damaged.
    """
    if (path := evidence.request.onnx) is None:
        return TITLE.skipped(
            "no --onnx given; with --onnx FOLDER, of export --format onnx, it runs"
        )
    theirs, answers, allowed = evidence.run, evidence.answers, evidence.allowed
    with evidence.reporter.stage("Running the ONNX models", None):
        if problems := _other_export(open_folder(path), evidence.inspection.manifest):
            return TITLE.judged((), allowed.reason, problems=problems)
        ours, repeated = _repeat(path, evidence.request, theirs, answers)
    noise = bridged(ours.logits, theirs.logits, allowed.most)
    choices = compare_choices(ours.logits, theirs.logits, theirs.probes, noise)
    texts = _compare_texts(repeated, answers, noise)
    figures = [
        *_figures(ours, theirs, allowed),
        Figure("other first choice", len(choices.differing), 0),
        Figure("answers that differ", len(texts.problems), 0),
        Figure("tokens compared", texts.tokens),
        Figure("noise between the runtimes, in logits", noise),
    ]
    problems = [*choices.differing, *texts.problems]
    near_ties = [*choices.near_ties, *texts.near_ties]
    return TITLE.judged(figures, allowed.reason, problems=problems, near_ties=near_ties)


def _repeat(
    path: Path, asked: VerifyRequest, theirs: GraphRun, answers: Sequence[PromptAnswers]
) -> tuple[GraphRun, tuple[PromptAnswers, ...]]:
    """The text, drafts and prompts that LiteRT was run on in ONNX Runtime."""
    from runtime_py.onnx.model import open_onnx_model

    agreed, prompts = theirs.contract, [answer.prompt for answer in answers]
    with open_onnx_model(
        path, asked.threads, cache_length=agreed.cache_length, drafting=agreed.has_drafter
    ) as model:
        return (
            run_graphs(model.executor, theirs.tokens, theirs.probes, theirs.starts),
            answer_all(
                model.executor, model.tokenizer, model.template, prompts, asked.max_new_tokens
            ),
        )


def _other_export(folder: OnnxFolder, manifest: Mapping[str, Any] | None) -> list[str]:
    """Why folder and bundle are not two formats of one export."""
    theirs, ours = manifest or {}, folder.manifest()
    return [
        f"{block}: the folder was exported with another {block} than the bundle"
        for block in SAME
        if ours[block] != theirs.get(block)
    ]


def _figures(ours: GraphRun, theirs: GraphRun, allowed: Allowed) -> Iterator[Figure]:
    agreed, count = theirs.contract, len(theirs.tokens)
    written = [("verify", ours.caches, theirs.caches, count)]
    for (length, here), (_, there) in zip(ours.prefilled, theirs.prefilled, strict=True):
        written.append((f"prefill of {length}", here, there, length))
    errors = position_errors(ours.logits, theirs.logits)
    yield nearest_to_limit("verify: logits", errors, allowed.logits)
    errors = position_errors(ours.hidden, theirs.hidden)
    yield nearest_to_limit("verify: activations", errors, allowed.hidden)
    for name, here, there, length in written:
        errors = position_errors(slots(agreed, here, length), slots(agreed, there, length))
        yield nearest_to_limit(f"{name}: caches", errors, allowed.caches[:length])
    errors = position_errors(ours.decoded_logits, theirs.decoded_logits)
    yield nearest_to_limit("decode: logits", errors, allowed.logits[-len(theirs.tail) :])
    alike = [
        (position_errors(here.projected, there.projected), limits)
        for here, there, limits in zip(
            ours.drafts, theirs.drafts, allowed.draft_projected, strict=True
        )
        if here.tokens == there.tokens
    ]
    if alike:
        errors, limits = (np.stack(part) for part in zip(*alike, strict=True))
        yield nearest_to_limit("draft: projected activations", errors, limits)


def _compare_texts(
    ours: Sequence[PromptAnswers], theirs: Sequence[PromptAnswers], noise: float
) -> _Texts:
    texts = _Texts(noise)
    for number, (here, there) in enumerate(zip(ours, theirs, strict=True), start=1):
        texts.compare(f"MTP off, answer {number}", here.greedy, there.greedy)
        if here.speculative is not None and there.speculative is not None:
            texts.compare(f"MTP on, answer {number}", here.speculative, there.speculative)
    return texts


class _Texts:
    """Answers compared token by token, up to where they part."""

    def __init__(self, noise: float) -> None:
        self.problems: list[str] = []
        self.near_ties: list[NearTie] = []
        self.tokens = 0
        self._noise = noise

    def compare(self, where: str, ours: Answered, theirs: Answered) -> None:
        """A difference is a near-tie if LiteRT's own margin there is within the noise."""
        self.tokens += len(theirs.tokens)
        at = first_difference(ours.tokens, theirs.tokens)
        if at is None:
            return
        if at >= min(len(ours.tokens), len(theirs.tokens)):
            self.problems.append(
                f"{where}: {len(ours.tokens)} tokens instead of {len(theirs.tokens)}"
            )
            return
        chosen, expected, margin = ours.tokens[at], theirs.tokens[at], theirs.margins[at]
        if margin <= self._noise:
            found = NearTie(
                f"{where}, token {at + 1}", str(chosen), str(expected), margin, self._noise
            )
            self.near_ties.append(found)
        else:
            self.problems.append(
                f"{where}, token {at + 1}: {chosen} instead of {expected}, whose margin is {margin:.2g}"
            )
