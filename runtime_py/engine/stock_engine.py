"""The stock LiteRT-LM engine, in a process of its own.

The engine logs to the process's stderr, tells the drafter's success rate only there and only when it
shuts down, and may abort on a bad bundle. A child process makes all three harmless: the log is read
from a pipe, and an abort becomes an :class:`EngineError` with the engine's own last words.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from exporter.bundle.reader import open_bundle
from exporter.child_process import child_command
from exporter.contract.names import Accelerator
from exporter.errors import EngineError
from runtime_py.chat.conversation import Conversation
from runtime_py.chat.media import require_media, used_media
from runtime_py.litert.gpu.device import MISSING, is_missing
from runtime_py.loop.sampling import GREEDY, SamplingSettings
from runtime_py.reply import OnChunk, Reply, RunResult, silent
from runtime_py.weight_cache import content_key, kept_folder

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
        on_chunk: Called with each piece of text as it arrives, and with a newline after each answer.

    Raises:
        BundleError: There are pictures or sounds, and the bundle takes none; or weights were packed from a
            damaged one.
        EngineError: The engine is not installed, refused the bundle, failed or aborted.
        OutputError: Packed weights cannot be kept.
    """
    if media := used_media(conversations):
        require_media(open_bundle(settings.bundle), media)
    with _own_weight_cache(settings) as settings:
        finished, log = _ask(settings, conversations, on_chunk)
    rates = SUCCESS_RATE.findall(log)
    return RunResult(
        replies=tuple(tuple(map(_reply, replies)) for replies in finished["replies"]),
        success_rate=float(rates[-1]) if rates else None,
        init_seconds=float(finished["init_seconds"]),
    )


@contextmanager
def _own_weight_cache(settings: EngineSettings) -> Iterator[EngineSettings]:
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
    request = {
        **asdict(settings),
        "chat_templates": chat_templates,
        "conversations": [conversation.to_json() for conversation in conversations],
        "bundle": str(settings.bundle),
        "weight_cache": str(settings.weight_cache) if settings.weight_cache else None,
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stream:
        finished, status = _converse(request, stream, on_chunk or silent)
        stream.seek(0)
        log = stream.read()
    _check(settings, finished, log, status)
    return finished, log


def _converse(
    request: dict[str, Any], log: IO[str], on_chunk: OnChunk
) -> tuple[dict[str, Any], int]:
    """Send the request to a worker and pass chunks on; its final event, if any, and exit status."""
    finished: dict[str, Any] = {}
    with subprocess.Popen(
        child_command(WORKER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        encoding="utf-8",
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            _send(worker.stdin, request)
            for event in _events(worker.stdout):
                if "chunk" in event:
                    on_chunk(event["chunk"])
                else:
                    finished = event
            worker.wait()
        finally:
            worker.kill()
    return finished, worker.returncode


def _send(stream: IO[str], request: dict[str, Any]) -> None:
    """Write the request. One larger than the pipe finds out here that the worker has died already.

    Why it has is in its exit status and its log.
    """
    with suppress(BrokenPipeError), stream:
        stream.write(json.dumps(request))


def _events(stream: IO[str]) -> Iterator[dict[str, Any]]:
    """All but the line that a dying worker does not get to finish."""
    for line in stream:
        with suppress(ValueError):
            yield json.loads(line)


def _check(settings: EngineSettings, finished: dict[str, Any], log: str, status: int) -> None:
    """Whether the engine did what it was asked to."""
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


def _reply(values: dict[str, Any]) -> Reply:
    return Reply(**{**values, "tool_calls": tuple(values["tool_calls"])})


def _last_errors(log: str) -> str:
    return _quoted([line for line in log.splitlines() if line.startswith(("E0", "F0", "ERROR"))])


def _quoted(lines: list[str]) -> str:
    return "".join(f"\n  | {line}" for line in lines[-LOG_LINES_SHOWN:])
