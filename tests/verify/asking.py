"""Asking transformers once for what several bundles of one pair are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.verify.sides.golden import Golden, Question, ask

NEEDS_MORE = {
    "float16", "onnx", "tower", "pictures", "sounds", "picture-replies", "sound-replies",
}  # fmt: skip
"""Rungs that a bundle of the tiny pair skips: it runs on the CPU, no --onnx is given, it takes no pictures,
no sounds."""


@dataclass
class RememberedAnswers:
    """Answers as :func:`~exporter.verify.sides.golden.ask` does, a second time from memory."""

    known: dict[Question, Golden] = field(default_factory=dict)

    def __call__(
        self, target: Checkpoint, drafter: Checkpoint | None, question: Question, threads: int
    ) -> Golden:
        if question not in self.known:
            self.known[question] = ask(target, drafter, question, threads)
        return self.known[question]
