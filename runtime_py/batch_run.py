"""Many questions through a bundle with batch signatures, several at a time.

Answers are those that the questions get one by one. They are begun in order and end in any; what is
shown of them is shown in order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporter.errors import EngineError
from runtime_py.chat.conversation import Conversation, as_message
from runtime_py.chat.reply_text import ReplyReading
from runtime_py.growing_reply import GrowingReply
from runtime_py.litert.batch_executor import BatchLitertExecutor
from runtime_py.litert.graph import LitertCache
from runtime_py.loop.batch_loop import Batch, Progress, Running
from runtime_py.loop.executor import Lookups
from runtime_py.loop.rounds import Cursor, Limits
from runtime_py.loop.sampling import chooser
from runtime_py.loop.speculative import Clock
from runtime_py.opened_model import OpenedModel
from runtime_py.prompt import PromptReader
from runtime_py.reference_run import RunSettings
from runtime_py.reply import OnChunk, Reply, RunResult, silent


class InOrder:
    """Passes on pieces of several texts, one whole text after the other.

    Pieces of the first unfinished text go through at once, those of later ones wait. None follows the end
    of a text.
    """

    def __init__(self, on_chunk: OnChunk) -> None:
        self._on_chunk = on_chunk
        self._current = 0
        self._waiting: dict[int, str] = {}
        self._ended: set[int] = set()

    def push(self, index: int, piece: str) -> None:
        """A piece of text ``index``."""
        if index == self._current:
            self._on_chunk(piece)
        else:
            self._waiting[index] = self._waiting.get(index, "") + piece

    def end(self, index: int) -> None:
        """Text ``index`` is complete."""
        self._ended.add(index)
        while self._current in self._ended:
            self._on_chunk(None)
            self._current += 1
            if piece := self._waiting.pop(self._current, ""):
                self._on_chunk(piece)


@dataclass(frozen=True)
class _Prompt:
    """A conversation in tokens, and what takes its answer apart."""

    tokens: list[int]
    lookups: Lookups | None
    reading: ReplyReading


class _Answers:
    """Questions waiting, being answered and answered."""

    def __init__(
        self,
        model: OpenedModel,
        executor: BatchLitertExecutor,
        settings: RunSettings,
        prompts: Sequence[_Prompt],
        on_chunk: OnChunk,
        clock: Clock,
    ) -> None:
        self._model, self._executor, self._settings = model, executor, settings
        self._prompts, self._shown, self._clock = prompts, InOrder(on_chunk), clock
        self._limits = Limits(
            settings.max_new_tokens, model.tokenizer.stop_tokens, context_length(model, settings)
        )
        self._free: list[LitertCache] = []
        self._answering: dict[int, tuple[LitertCache, GrowingReply]] = {}
        self.replies: dict[int, Reply] = {}

    def waiting(self) -> Iterator[Running[LitertCache]]:
        """Prefills a question when it is asked for, in the cache of one that is done if there is."""
        tokenizer = self._model.tokenizer
        for index, prompt in enumerate(self._prompts):
            tokens = prompt.tokens
            cache = self._free.pop() if self._free else self._executor.new_cache()
            growing = GrowingReply(tokenizer, prompt.reading, len(tokens), self._clock)
            self._executor.prefill(cache, tokens[:-1], 0, prompt.lookups)
            growing.prefilled()
            self._answering[index] = cache, growing
            start = Cursor(len(tokens) - 1, tokens[-1])
            chosen = chooser(self._settings.sampling, tokenizer.suppressed_tokens)
            yield Running(index, cache, start, self._limits, chosen)

    def take(self, progress: Progress) -> None:
        """Note what became of a question."""
        cache, growing = self._answering[progress.key]
        piece = "" if progress.done is None else growing.push(progress.done, progress.shared_by)
        if progress.finish is not None:
            piece += growing.end()
        if piece:
            self._shown.push(progress.key, piece)
        if progress.finish is not None:
            self.replies[progress.key] = growing.reply(progress.finish)
            self._free.append(cache)
            self._shown.end(progress.key)


def context_length(model: OpenedModel, settings: RunSettings) -> int:
    """Slots that may be used."""
    slots = model.executor.cache_length
    return min(settings.context_length or slots, slots)


def run_batch(
    model: OpenedModel,
    settings: RunSettings,
    conversations: Sequence[Conversation],
    on_chunk: OnChunk | None = None,
    *,
    together: int | None = None,
    clock: Clock = time.perf_counter,
) -> RunResult:
    """Answer every conversation, up to ``together`` at a time; by default as many as the bundle can.

    Tokens per second are by each answer's share of the calls it was in, so that they add up.

    Raises:
        BundleError: The bundle was exported without ``--batch``.
        ContextFullError: A conversation does not fit into the context; nothing was answered.
        EngineError: A conversation has more than one turn to be answered.
    """
    executor = BatchLitertExecutor(model.executor)
    prompts = [_prompt(model, settings, conversation) for conversation in conversations]
    answers = _Answers(model, executor, settings, prompts, on_chunk or silent, clock)
    policy = model.policy(settings.drafts, together or executor.batch)
    batch = Batch(executor, policy, clock, together)
    for progress in batch.generate(answers.waiting()):
        answers.take(progress)
    return RunResult.counted([(answers.replies[index],) for index in range(len(prompts))])


def _prompt(model: OpenedModel, settings: RunSettings, conversation: Conversation) -> _Prompt:
    if len(conversation.turns) != 1:
        raise EngineError(
            f"a batch answers one turn of each conversation, found {len(conversation.turns)}: answer the "
            "others one by one"
        )
    messages = [*conversation.history, as_message(conversation.turns[0])]
    setting = conversation.setting
    reader = PromptReader(model.tokenizer, model.template, setting, model.media)
    read = reader.read(messages, context_length(model, settings))
    return _Prompt(read.tokens, reader.lookups, model.markers.reading(setting, read.text))
