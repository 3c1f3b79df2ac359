"""A chat with the stock engine, in one process that stays.

Every question is asked in a new conversation that is given the history: one of the engine's that goes on
feeds a stop token wrongly, so that later answers may differ with MTP, and one that was cancelled never
answers again (0.18.1). The engine streams text, not tokens, and tells the share of accepted drafts only when
it ends.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any

from exporter.bundle.reader import open_bundle
from exporter.errors import EngineError
from runtime_py.chat.conversation import Conversation, Message
from runtime_py.chat.media import Medium
from runtime_py.engine.stock_engine import (
    EngineSettings,
    check_worker,
    engine_worker,
    events_of,
    own_weight_cache,
    reply_of,
    send,
    stdin_of,
    success_rate,
    worker_request,
)
from runtime_py.reply import Piece, Reply

logger = logging.getLogger(__name__)


class EngineChat:
    """What has been said, and the worker that answers.

    Args:
        settings: Of the engine.
        begun: What a conversation begins with.
        worker: It has the engine loaded when :meth:`load` is done.
        log: What it writes to stderr.
    """

    def __init__(
        self,
        settings: EngineSettings,
        begun: Conversation,
        worker: subprocess.Popen[str],
        log: IO[str],
    ) -> None:
        self._settings, self._begun = settings, begun
        self._worker, self._log, self._events = worker, log, events_of(worker)
        self._messages = begun.history

    def load(self, request: dict[str, Any]) -> None:
        """Load the engine.

        Raises:
            EngineError: As for :func:`~runtime_py.engine.stock_engine.run_engine`.
        """
        self._send(request)
        self._require(next(self._events, {}), "ready")

    def stream(self, message: Message) -> Generator[Piece, None, Reply]:
        """Answer a message: yields text as it comes, returns the whole reply.

        Its time to the first token includes reading the history again.

        Raises:
            EngineError: The engine failed. If its process lives, other messages can be answered.
        """
        begun, first = time.perf_counter(), 0.0
        self._send(replace(self._begun, turns=(message,), history=self._messages).to_json())
        event: dict[str, Any] = {}
        for event in self._events:
            if "chunk" not in event:
                break
            first = first or time.perf_counter() - begun
            yield Piece(event["chunk"])
        if "failed" in event:
            raise EngineError(f"{self._settings.bundle}: the engine says: {event['failed']}")
        self._require(event, "reply")
        reply = replace(reply_of(event["reply"]), time_to_first_token=first)
        said = Message("assistant", reply.text, reply.tool_calls, reply.thought)
        self._messages = (*self._messages, message, said)
        return reply

    def cancel(self) -> None:
        """End the answer that is being given, early."""
        self._worker.send_signal(signal.SIGINT)

    @property
    def alive(self) -> bool:
        """Whether the engine's process can answer."""
        return self._worker.poll() is None

    def reset(self) -> None:
        """Forget what was said."""
        self._messages = self._begun.history

    def end(self) -> float | None:
        """End the engine; the share of drafts that were accepted, None where nothing was drafted."""
        stdin_of(self._worker).close()
        for _ in self._events:
            pass
        self._worker.wait()
        logger.debug("%s", (said := self._said()).rstrip())
        return success_rate(said)

    def _send(self, asked: dict[str, Any]) -> None:
        try:
            send(self._worker, asked)
        except BrokenPipeError:
            self._require({}, "")

    def _require(self, event: dict[str, Any], key: str) -> None:
        if key not in event:
            self._worker.wait()
            check_worker(self._settings, event, self._said(), self._worker.returncode)

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()


@contextmanager
def open_engine_chat(settings: EngineSettings, begun: Conversation) -> Iterator[EngineChat]:
    """A chat with the stock engine.

    Args:
        settings: Bundle and options; ``max_new_tokens`` are those of each answer.
        begun: What is said before the first question, and with which tools; it has no turns.

    Raises:
        BundleError: The bundle is damaged.
        EngineError: The engine is not installed, refused the bundle or aborted.
        OutputError: Packed weights cannot be kept.
    """
    bundle = open_bundle(settings.bundle)
    media = [medium for medium in Medium if bundle.model(medium.section) is not None]
    with (
        own_weight_cache(settings) as settings,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        engine_worker(log) as worker,
    ):
        chat = EngineChat(settings, begun, worker, log)
        chat.load({**worker_request(settings, [begun], media), "chat": True})
        yield chat
