"""Asking unmodified transformers, in a process of its own, for the golden file.

The only place that starts ``reference``; what comes back is read as plain arrays.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.tensors.quantisation import is_out_of_date
from exporter.child_process import child_command
from exporter.errors import MtpExportError
from exporter.pip_install import pip_install
from exporter.version import installed

PACKAGE = "exporter.verify.sides"
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
    if reason := not_installed("transformers"):
        return reason
    if reason := _unfit_version(target, drafter):
        return f"{reason}; pip install 'transformers=={FIT_VERSION}'"
    adapted = any(adapter_folder(checkpoint) for checkpoint in (target, drafter))
    if adapted and (reason := not_installed("peft")):
        return reason
    if _trained_on_more_than_text(target):
        return (
            "the adapter was trained on the multimodal class, and the target was saved text-only: "
            "transformers cannot bring them together"
        )
    return too_large(sum(_float32_bytes(c) for c in (target, drafter) if c is not None))


def not_installed(*packages: str) -> str:
    """Which package is missing and how to get it; empty if none is."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed: {pip_install('reference')}"
    return ""


def too_large(nbytes: int, what: str = "this checkpoint") -> str:
    """Why transformers cannot hold so many bytes of weights; empty if it can."""
    needed, free = HEADROOM * nbytes, _free_memory()
    if free is None or needed <= free:
        return ""
    return (
        f"transformers would need about {needed / 1e9:.0f} GB of memory for {what} in float32, and "
        f"{free / 1e9:.0f} GB are free"
    )


def ask(target: Checkpoint, drafter: Checkpoint | None, question: Question, threads: int) -> Golden:
    """Run ``reference`` and read its file.

    Raises:
        TransformersError: It failed; the message ends with its last words.
    """
    asked = {
        **target_block(target, threads),
        "drafter": str(drafter.folder) if drafter else None,
        "drafter_adapter": adapter_folder(drafter),
        "stale": [str(c.folder) for c in (target, drafter) if c and is_out_of_date(c.config)],
        "tokens": list(question.tokens),
        "probes": list(question.probes),
        "starts": list(question.starts),
        "drafts": question.drafts,
    }
    with reference_run("reference", asked, "golden.npz") as out, np.load(out) as arrays:
        return Golden(question.tokens, question.probes, question.starts, dict(arrays))


def target_block(target: Checkpoint, threads: int) -> dict[str, Any]:
    """What every process that asks transformers is told of the target."""
    return {
        "target": str(target.folder),
        "target_adapter": adapter_folder(target),
        "stale": [str(target.folder)] if is_out_of_date(target.config) else [],
        "threads": threads,
    }


@contextmanager
def reference_run(module: str, request: Mapping[str, Any], name: str) -> Iterator[Path]:
    """Run one of the modules that ask transformers, in a process of its own; yields the file it wrote.

    Args:
        module: Its name in this package.
        request: What to compute, as JSON can hold it; of it ``target`` is a folder.
        name: The file's, gone afterwards.

    Raises:
        TransformersError: It failed; the message ends with its last words.
    """
    with tempfile.TemporaryDirectory(prefix="mtp-export-golden-") as folder:
        asked, out = Path(folder) / "request.json", Path(folder) / name
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = child_command(f"{PACKAGE}.{module}", str(asked), str(out))
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            last = "\n".join(done.stderr.splitlines()[-LOG_LINES_SHOWN:])
            raise TransformersError(
                f"transformers failed on {request['target']} (exit status {done.returncode}); a version "
                f"that works comes with {pip_install('reference')}. Its last words:\n{last}"
            )
        yield out


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


def adapter_folder(checkpoint: Checkpoint | None) -> str | None:
    """Where the adapter of a checkpoint is; None if there is none."""
    adapter = checkpoint.adapter if checkpoint is not None else None
    return str(adapter.folder) if adapter is not None else None


def _float32_bytes(checkpoint: Checkpoint) -> int:
    """Of all tensors of a checkpoint."""
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
