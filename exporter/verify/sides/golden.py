"""Asking unmodified transformers, in a process of its own, for the golden file.

The only place that starts ``reference``; what comes back is read as plain arrays.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.tensors.quantisation import is_out_of_date
from exporter.errors import MtpExportError
from exporter.version import installed

FLOAT_BYTES = 4
HEADROOM = 1.15
"""Of the float32 weights: activations, logits, and the reading of one shard."""

LOG_LINES_SHOWN = 12
NO_ASSISTANTS = ("5.23.0",)
"""Raises on every Gemma 4 assistant: "set of layer types producing a cache ..."."""
NO_GROUPS = ("5.24.0",)
"""Expects one scale a row of a packed embedding; the per-layer tables that are published have one a layer."""
FIT_VERSION = "5.22.2"
"""Can do both."""
MEMORY_FILE = Path("/proc/meminfo")


class TransformersError(MtpExportError):
    """Transformers could not run the checkpoints."""


@dataclass(frozen=True)
class Golden:
    """What transformers computed; arrays as listed in ``reference``."""

    tokens: tuple[int, ...]
    probes: tuple[int, ...]
    starts: tuple[int, ...]
    arrays: Mapping[str, NDArray[np.float32]]


Ask = Callable[[Checkpoint, Checkpoint | None, "Question", int], "Golden"]
"""Something that answers as :func:`ask` does; tests remember the answers."""


@dataclass(frozen=True)
class Question:
    """What to compute: positions to probe, and committed lengths at which to draft ``drafts``."""

    tokens: tuple[int, ...]
    probes: tuple[int, ...]
    starts: tuple[int, ...]
    drafts: int


def missing(target: Checkpoint, drafter: Checkpoint | None) -> str:
    """Why transformers cannot be asked; empty if it can."""
    if importlib.util.find_spec("transformers") is None:
        return "transformers is not installed: pip install 'mtp-export[reference]'"
    if reason := _unfit_version(target, drafter):
        return f"{reason}; pip install 'transformers=={FIT_VERSION}'"
    adapted = any(_adapter_folder(checkpoint) for checkpoint in (target, drafter))
    if adapted and importlib.util.find_spec("peft") is None:
        return "peft is not installed: pip install 'mtp-export[reference]'"
    if _trained_on_more_than_text(target):
        return (
            "the adapter was trained on the multimodal class, and the target was saved text-only: "
            "transformers cannot bring them together"
        )
    needed = HEADROOM * sum(_float32_bytes(c) for c in (target, drafter) if c is not None)
    free = _free_memory()
    if free is not None and needed > free:
        return (
            f"transformers would need about {needed / 1e9:.0f} GB of memory for this checkpoint in "
            f"float32, and {free / 1e9:.0f} GB are free"
        )
    return ""


def ask(target: Checkpoint, drafter: Checkpoint | None, question: Question, threads: int) -> Golden:
    """Run ``reference`` and read its file.

    Raises:
        TransformersError: It failed; the message ends with its last words.
    """
    with tempfile.TemporaryDirectory(prefix="mtp-export-golden-") as name:
        request, out = Path(name) / "request.json", Path(name) / "golden.npz"
        request.write_text(json.dumps(_request(target, drafter, question, threads)))
        command = [sys.executable, "-m", "exporter.verify.sides.reference", str(request), str(out)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            last = "\n".join(done.stderr.splitlines()[-LOG_LINES_SHOWN:])
            raise TransformersError(
                f"transformers failed on {target.source} (exit status {done.returncode}); a version "
                f"that works comes with pip install 'mtp-export[reference]'. Its last words:\n{last}"
            )
        with np.load(out) as arrays:
            return Golden(question.tokens, question.probes, question.starts, dict(arrays))


def _request(
    target: Checkpoint, drafter: Checkpoint | None, question: Question, threads: int
) -> dict[str, Any]:
    return {
        "target": str(target.folder),
        "drafter": str(drafter.folder) if drafter else None,
        "target_adapter": _adapter_folder(target),
        "drafter_adapter": _adapter_folder(drafter),
        "stale": [str(c.folder) for c in (target, drafter) if c and is_out_of_date(c.config)],
        "tokens": list(question.tokens),
        "probes": list(question.probes),
        "starts": list(question.starts),
        "drafts": question.drafts,
        "threads": threads,
    }


def _unfit_version(target: Checkpoint, drafter: Checkpoint | None) -> str:
    """What the installed transformers cannot do that these checkpoints need."""
    version = installed(("transformers",)).get("transformers", "")
    if drafter is not None and version in NO_ASSISTANTS:
        return f"transformers {version} cannot build a Gemma 4 assistant"
    grouped = next((packed.name for packed in target.packed.values() if packed.groups > 1), None)
    if grouped is not None and version in NO_GROUPS:
        return f"transformers {version} refuses the several scales a row that {grouped} has"
    return ""


def _trained_on_more_than_text(target: Checkpoint) -> bool:
    """Whether the adapter's modules are those of a class that the checkpoint is not of."""
    if target.adapter is None or target.config.get("model_type") != "gemma4_text":
        return False
    return any("language_model." in change.module for change in target.adapter.changes.values())


def _adapter_folder(checkpoint: Checkpoint | None) -> str | None:
    adapter = checkpoint.adapter if checkpoint is not None else None
    return str(adapter.folder) if adapter is not None else None


def _float32_bytes(checkpoint: Checkpoint) -> int:
    return FLOAT_BYTES * sum(math.prod(tensor.shape) for tensor in checkpoint.tensors.values())


def _free_memory() -> int | None:
    """Bytes that a new process can have; None where the system does not say."""
    if not MEMORY_FILE.is_file():
        return None
    lines = MEMORY_FILE.read_text().splitlines()
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable")), None)


def probes(length: int, vocab_size: int, most_elements: int = 1 << 26) -> tuple[int, ...]:
    """Positions whose logits are kept: all, or evenly spread ones where the vocabulary is large."""
    stride = max(1, math.ceil(length * vocab_size / most_elements))
    return tuple(range(length - 1, -1, -stride))[::-1]


def draft_starts(length: int, window: int, drafts: int) -> tuple[int, ...]:
    """Committed lengths to draft at: early, around the window's edge, and at the end."""
    wanted: Sequence[int] = (8, 24, window, window + 1, window + 2, length - drafts - 1)
    return tuple(sorted({start for start in wanted if 1 <= start < length}))
