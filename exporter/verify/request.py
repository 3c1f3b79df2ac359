"""What ``verify`` is asked, and what can be said about it before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.contract import Accelerator
from exporter.verify.rungs.engine import missing_engine
from exporter.verify.sides.golden import missing
from exporter.verify.titles import CONVERSATIONS, ENGINE, NEED_TARGET, NEED_TRANSFORMERS


@dataclass(frozen=True)
class Request:
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


def foreseen(request: Request) -> Iterator[str]:
    """Which rungs will be skipped for a reason that is known already, one sentence for each reason."""
    if request.target is None:
        rungs = ", ".join(title.key for title in NEED_TARGET)
        yield (
            f"without --target these rungs are skipped: {rungs}; give --target (and --drafter) the "
            "checkpoints that the bundle was made from to run them"
        )
    elif reason := missing(request.target, request.drafter):
        rungs = " and ".join(title.key for title in NEED_TRANSFORMERS)
        yield f"the rungs {rungs} are skipped: {reason}"
    if reason := missing_engine():
        yield (
            f"the {ENGINE.key} rung is skipped, and {CONVERSATIONS.key} are not compared with the engine: "
            f"{reason}"
        )
