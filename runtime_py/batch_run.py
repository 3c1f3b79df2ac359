"""Many questions through a bundle with batch signatures, several at a time.

Answers are those that the questions get one by one. They are begun in order and end in any; what is
shown of them is shown in order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from exporter.errors import EngineError
from runtime_py.chat.conversation import Conversation, as_message
from runtime_py.chat.reply_text import Reading
from runtime_py.chat.tokenizer import StreamingText
from runtime_py.engine.stock_engine import OnChunk, Reply
from runtime_py.litert.batch_executor import BatchLitertExecutor
from runtime_py.litert.executor import LitertCache
from runtime_py.loop.batch_loop import Batch, Progress, Running
from runtime_py.loop.rounds import Acceptance, Cursor, Limits, Round
from runtime_py.loop.sampling import chooser
from runtime_py.loop.speculative import Clock
from runtime_py.opened_model import OpenedModel
from runtime_py.reference_run import ReferenceRun, RunSettings, per_second
from runtime_py.session import prompt_tokens


class InOrder:
    """Passes on pieces of several texts, one whole text after the other.

    Pieces of the first unfinished text go through at once, those of later ones wait. Ending a text
    passes a newline on.
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
            self._on_chunk("\n")
            self._current += 1
            if piece := self._waiting.pop(self._current, ""):
                self._on_chunk(piece)


@dataclass(frozen=True)
class _Prompt:
    """A conversation in tokens, and what takes its answer apart."""

    tokens: list[int]
    reading: Reading


@dataclass
class _Answer:
    """An answer as it grows."""

    cache: LitertCache
    prompt: list[int]
    streaming: StreamingText
    reading: Reading
    begun: float
    prefill_seconds: float
    first: float | None = None  # seconds until there was text
    decode_seconds: float = 0.0  # its share of the calls it was in
    rounds: list[Round] = field(default_factory=list)

    def reply(self) -> Reply:
        tokens = sum(len(done.tokens) for done in self.rounds)
        committed = sum(len(done.committed) for done in self.rounds)
        said = self.reading.said()
        return Reply(
            text=said.text,
            thought=said.thought,
            tool_calls=said.tool_calls,
            prefill_tokens=len(self.prompt),
            prefill_tokens_per_second=per_second(len(self.prompt), self.prefill_seconds),
            decode_tokens=tokens,
            decode_tokens_per_second=per_second(tokens, self.decode_seconds),
            time_to_first_token=self.first or 0.0,
            context_tokens=len(self.prompt) - 1 + committed,
        )


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
        self.answers: dict[int, _Answer] = {}

    def waiting(self) -> Iterator[Running[LitertCache]]:
        """Prefills a question when it is asked for, in the cache of one that is done if there is."""
        for index, prompt in enumerate(self._prompts):
            cache = self._free.pop() if self._free else self._executor.new_cache()
            begun = self._clock()
            self._executor.prefill(cache, prompt.tokens[:-1], 0)
            streaming = StreamingText(self._model.tokenizer)
            seconds = self._clock() - begun
            self.answers[index] = _Answer(
                cache, prompt.tokens, streaming, prompt.reading, begun, seconds
            )
            start = Cursor(len(prompt.tokens) - 1, prompt.tokens[-1])
            suppressed = self._model.tokenizer.suppressed_tokens
            chosen = chooser(self._settings.sampling, suppressed)
            yield Running(index, cache, start, self._limits, chosen)

    def take(self, progress: Progress) -> None:
        """Note what became of a question."""
        answer, done = self.answers[progress.key], progress.done
        piece = ""
        if done is not None:
            answer.rounds.append(done)
            answer.decode_seconds += done.seconds / progress.shared_by
            stops = self._limits.stop_tokens
            new = answer.streaming.push(token for token in done.tokens if token not in stops)
            piece = answer.reading.push(new)
        if progress.finish is not None:
            piece += answer.reading.push(answer.streaming.flush()) + answer.reading.rest()
        if piece:
            answer.first = answer.first or self._clock() - answer.begun
            self._shown.push(progress.key, piece)
        if progress.finish is not None:
            self._free.append(answer.cache)
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
) -> ReferenceRun:
    """Answer every conversation, up to ``together`` at a time; by default as many as the bundle can.

    Tokens per second are by each answer's share of the calls it was in, so that they add up.

    Raises:
        BundleError: The bundle was exported without ``--batch``.
        ContextFullError: A conversation does not fit into the context; nothing was answered.
        EngineError: A conversation has more than one turn to be answered.
    """
    executor = BatchLitertExecutor(model.executor)
    prompts = [_prompt(model, settings, conversation) for conversation in conversations]
    chunks = on_chunk or (lambda text: None)
    answers = _Answers(model, executor, settings, prompts, chunks, clock)
    policy = model.policy(settings.drafts, together or executor.batch)
    batch = Batch(executor, policy, clock, together)
    for progress in batch.generate(answers.waiting()):
        answers.take(progress)
    done = [answers.answers[index] for index in range(len(prompts))]
    acceptance = Acceptance.of([round_ for answer in done for round_ in answer.rounds])
    replies = tuple((answer.reply(),) for answer in done)
    return ReferenceRun(replies, acceptance.rate, 0.0, acceptance)


def _prompt(model: OpenedModel, settings: RunSettings, conversation: Conversation) -> _Prompt:
    if len(conversation.turns) != 1:
        raise EngineError(
            f"a batch answers one turn of each conversation, found {len(conversation.turns)}: answer the "
            "others one by one"
        )
    messages = [*conversation.history, as_message(conversation.turns[0])]
    text = model.template.render(messages, conversation.setting)
    tokens = prompt_tokens(model.tokenizer, text, context_length(model, settings))
    return _Prompt(tokens, model.markers.reading(conversation.setting, text))
