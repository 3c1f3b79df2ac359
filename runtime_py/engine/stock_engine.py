"""The stock LiteRT-LM engine, in a process of its own.

The engine logs to the process's stderr, tells the drafter's success rate only there and only when it
shuts down, and may abort on a bad bundle. A child process makes all three harmless: the log is read
from a pipe, and an abort becomes an :class:`EngineError` with the engine's own last words.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from exporter.bundle.reader import open_bundle
from exporter.child_process import child_command
from exporter.contract.names import Accelerator
from exporter.errors import EngineError
from runtime_py.chat.conversation import Conversation
from runtime_py.chat.media import Medium, require_media, used_media
from runtime_py.litert.gpu.device import MISSING, is_missing
from runtime_py.loop.sampling import GREEDY, SamplingSettings
from runtime_py.reply import OnChunk, Reply, RunResult, silent
from runtime_py.weight_cache import content_key, kept_folder

logger = logging.getLogger(__name__)

SUCCESS_RATE = re.compile(r"MTP Drafter - Success rate: ([0-9.]+)")
LOG_LINES_SHOWN = 8

ENGINE = "litert-lm-api"
"""The package that the extra `engine` installs."""

WORKER = "runtime_py.engine.stock_engine_worker"
"""The module that the child process runs."""


@dataclass(frozen=True)
class EngineSettings:
    """How the engine is set up.

    It ignores ``sampling`` under MTP. On a GPU it computes in float16 unless ``full_precision`` or the
    bundle asks for float32. ``image_tokens`` is the most tokens that a picture becomes; by default as many
    as the bundle allows.
    """

    bundle: Path
    mtp: bool
    max_new_tokens: int
    accelerator: Accelerator = Accelerator.CPU
    threads: int | None = None
    max_num_tokens: int | None = None
    weight_cache: Path | None = None
    sampling: SamplingSettings = GREEDY
    full_precision: bool = False
    image_tokens: int | None = None


def run_engine(
    settings: EngineSettings, conversations: Sequence[Conversation], on_chunk: OnChunk | None = None
) -> RunResult:
    """Load a bundle and answer every turn of every conversation.

    Args:
        settings: Bundle and options.
        conversations: Each starts with an empty cache.
        on_chunk: Called with each piece of text as it arrives, and with None after each answer.

    Raises:
        BundleError: There are pictures or sounds, and the bundle takes none; or weights were packed from a
            damaged one.
        EngineError: The engine is not installed, refused the bundle, failed or aborted.
        OutputError: Packed weights cannot be kept.
    """
    if media := used_media(conversations):
        require_media(open_bundle(settings.bundle), media)
    with own_weight_cache(settings) as settings:
        finished, log = _ask(settings, conversations, on_chunk)
    return RunResult(
        replies=tuple(tuple(map(reply_of, replies)) for replies in finished["replies"]),
        success_rate=success_rate(log),
        init_seconds=float(finished["init_seconds"]),
    )


@contextmanager
def own_weight_cache(settings: EngineSettings) -> Iterator[EngineSettings]:
    """The settings with a folder for packed weights of this bundle's content, if they are to be kept.

    The engine itself goes by the name, size and time of a bundle, and believes what it finds.
    """
    if settings.weight_cache is None:
        yield settings
        return
    bundle = open_bundle(settings.bundle)
    sections = [section for section in bundle.sections if section.model_type is not None]
    folder = settings.weight_cache / f"{ENGINE}-{content_key(bundle, sections, ENGINE)}"
    with kept_folder(folder, bundle, sections) as kept:
        yield replace(settings, weight_cache=kept)


def render_in_engine(
    settings: EngineSettings,
    conversations: Sequence[Conversation],
    chat_templates: Sequence[str] | None = None,
) -> list[str]:
    """The prompt that the engine makes of each conversation's first turn; empty where it refuses.

    Args:
        settings: Bundle and options.
        conversations: Each by itself.
        chat_templates: One for each conversation, in place of the bundle's.

    Raises:
        EngineError: As for :func:`run_engine`.
    """
    finished, _ = _ask(settings, conversations, None, chat_templates or [None] * len(conversations))
    return [str(prompt) for prompt in finished["prompts"]]


def _ask(
    settings: EngineSettings,
    conversations: Sequence[Conversation],
    on_chunk: OnChunk | None,
    chat_templates: Sequence[str | None] | None = None,
) -> tuple[dict[str, Any], str]:
    """What the worker gave in the end, and the engine's log; with templates, it only renders."""
    media = () if chat_templates else used_media(conversations)
    request = {**worker_request(settings, conversations, media), "chat_templates": chat_templates}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stream:
        finished, status = _converse(request, stream, on_chunk or silent)
        stream.seek(0)
        log = stream.read()
    check_worker(settings, finished, log, status)
    return finished, log


def _converse(
    request: dict[str, Any], log: IO[str], on_chunk: OnChunk
) -> tuple[dict[str, Any], int]:
    """Send the request to a worker and pass chunks on; its final event, if any, and exit status."""
    finished: dict[str, Any] = {}
    with engine_worker(log) as worker:
        with suppress(BrokenPipeError), stdin_of(worker):
            send(worker, request)
        for event in events_of(worker):
            if "chunk" in event:
                on_chunk(event["chunk"])
            else:
                finished = event
        worker.wait()
    return finished, worker.returncode


def worker_request(
    settings: EngineSettings, conversations: Sequence[Conversation], media: Iterable[Medium]
) -> dict[str, Any]:
    """What a worker is sent first, so that it can be asked for answers."""
    return {
        **asdict(settings),
        "chat": False,
        "chat_templates": None,
        "conversations": [conversation.to_json() for conversation in conversations],
        "media": list(media),
        "bundle": str(settings.bundle),
        "weight_cache": str(settings.weight_cache) if settings.weight_cache else None,
    }


@contextmanager
def engine_worker(log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """A worker that waits for its request; it is killed at the end if it has not ended by itself.

    It has a process group of its own: a Ctrl-C is the parent's, who ends it or cancels an answer.
    """
    with subprocess.Popen(
        child_command(WORKER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        encoding="utf-8",
        process_group=None if sys.platform == "win32" else 0,
    ) as worker:
        try:
            yield worker
        finally:
            worker.kill()
            with suppress(BrokenPipeError):  # of what it died before reading
                stdin_of(worker).close()


def stdin_of(worker: subprocess.Popen[str]) -> IO[str]:
    """Where a worker is asked."""
    assert worker.stdin is not None
    return worker.stdin


def send(worker: subprocess.Popen[str], asked: Mapping[str, Any] | None) -> None:
    """Send a line.

    Raises:
        BrokenPipeError: The worker has died; why is in its exit status and its log.
    """
    stream = stdin_of(worker)
    stream.write(json.dumps(asked) + "\n")
    stream.flush()


def events_of(worker: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """All but the line that a dying worker does not get to finish."""
    assert worker.stdout is not None
    for line in worker.stdout:
        with suppress(ValueError):
            yield json.loads(line)


def check_worker(settings: EngineSettings, finished: dict[str, Any], log: str, status: int) -> None:
    """Whether the engine did what it was asked to; its log goes to ours."""
    logger.debug("%s", log.rstrip())
    done = "replies" in finished or "prompts" in finished
    if not done and is_missing(log):
        raise EngineError(MISSING)
    if "error" in finished:
        raise EngineError(
            f"{settings.bundle}: the engine says: {finished['error']}{_last_errors(log)}"
        )
    if status or not done:
        raise EngineError(
            f"{settings.bundle}: the engine stopped with status {status}"
            f"{_last_errors(log) or _quoted(log.splitlines())}"
        )


def success_rate(log: str) -> float | None:
    """Accepted by drafted, which the engine says when it ends; None where nothing was drafted."""
    rates = SUCCESS_RATE.findall(log)
    return float(rates[-1]) if rates else None


def reply_of(values: dict[str, Any]) -> Reply:
    """A reply from what a worker sends."""
    return Reply(**{**values, "tool_calls": tuple(values["tool_calls"])})


def _last_errors(log: str) -> str:
    return _quoted([line for line in log.splitlines() if line.startswith(("E0", "F0", "ERROR"))])


def _quoted(lines: list[str]) -> str:
    return "".join(f"\n  | {line}" for line in lines[-LOG_LINES_SHOWN:])
