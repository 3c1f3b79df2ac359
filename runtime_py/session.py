"""A chat over one KV cache: several turns, with only what is new prefilled.

Before a turn the whole conversation is rendered by the template and tokenised; the longest prefix that
already stands in the cache stays, the rest is prefilled. So the cache always holds exactly what the
template says, whatever the model generated: an answer cut short, a stop token in the middle of an
accepted draft, thoughts the template drops from earlier turns.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Generic

from exporter.bundle.engine_template import Json
from exporter.errors import EngineError
from runtime_py.chat.chat_template import ChatTemplate
from runtime_py.chat.conversation import PLAIN, Message, Setting, Turn, as_message
from runtime_py.chat.reply_text import Markers
from runtime_py.chat.tokenizer import StreamingText, Tokenizer
from runtime_py.loop.executor import CacheT, Executor
from runtime_py.loop.rounds import Acceptance, Cursor, Finish, Limits, Round
from runtime_py.loop.sampling import GREEDY, SamplingSettings, chooser
from runtime_py.loop.speculative import Clock, DraftPolicy, Fixed, Speaker, generate


class ContextFullError(EngineError):
    """A conversation has grown longer than the context; start another or drop turns."""


def prompt_tokens(tokenizer: Tokenizer, text: str, context_length: int) -> list[int]:
    """Tokens of a rendered conversation.

    Raises:
        ContextFullError: There are more than the context holds.
    """
    prompt = tokenizer.encode_prompt(text)
    if len(prompt) > context_length:
        raise ContextFullError(
            f"the conversation is {len(prompt)} tokens long and the context holds "
            f"{context_length}: start a new one, or export with a longer --cache-length"
        )
    return prompt


@dataclass(frozen=True)
class Answer:
    """The model's answer to one turn, with what it took.

    ``tokens`` were emitted, a final stop token included; ``text`` is what they say to the user, without
    thought and tool calls.
    """

    text: str
    thought: str
    tool_calls: tuple[Json, ...]
    tokens: tuple[int, ...]
    finish: Finish
    rounds: tuple[Round, ...]
    reused_tokens: int
    """Prompt tokens that stood in the cache already."""
    prefill_tokens: int
    """Prompt tokens processed for this turn; the last of them by the first decode."""
    prefill_seconds: float
    context_tokens: int
    """Cache slots in use afterwards."""

    @property
    def acceptance(self) -> Acceptance:
        """Drafted and accepted, by draft position."""
        return Acceptance.of(self.rounds)

    @property
    def decode_seconds(self) -> float:
        return sum(done.seconds for done in self.rounds)


class Session(Generic[CacheT]):
    """One conversation.

    Args:
        executor: Shared by any number of sessions, one at a time.
        tokenizer: The bundle's.
        template: The bundle's.
        markers: How the bundle's answers mark thoughts and tool calls.
        history: What was said before, a system prompt first if there is one.
        setting: Tools, and whether the model is to think.
        policy: How much to draft; by default not at all. It may be shared to share what it learns.
        sampling: By default greedy.
        context_length: Use less of the cache than there is.
        clock: Seconds.
    """

    def __init__(
        self,
        executor: Executor[CacheT],
        tokenizer: Tokenizer,
        template: ChatTemplate,
        markers: Markers,
        *,
        history: Sequence[Message] = (),
        setting: Setting = PLAIN,
        policy: DraftPolicy | None = None,
        sampling: SamplingSettings = GREEDY,
        context_length: int | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        choosing = chooser(sampling, tokenizer.suppressed_tokens)
        self._speaker = Speaker(executor, executor.new_cache(), choosing, clock)
        self._tokenizer, self._template = tokenizer, template
        self._markers, self._setting = markers, setting
        self._policy: DraftPolicy = policy or Fixed(0)
        self._context_length = min(context_length or executor.cache_length, executor.cache_length)
        self._messages = list(history)
        self._committed: list[int] = []

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far."""
        return tuple(self._messages)

    @property
    def committed(self) -> tuple[int, ...]:
        """The tokens in the cache, by slot."""
        return tuple(self._committed)

    def ask(self, turn: Turn, max_new_tokens: int) -> Generator[str, None, Answer]:
        """Answer the user's words or a message: yields text as it comes, returns the whole answer.

        An answer that is abandoned half-way stays in the conversation as far as it went.

        Raises:
            ContextFullError: The conversation does not fit into the context; nothing has changed.
            EngineError: The runtime failed.
        """
        asked = [*self._messages, as_message(turn).sent()]
        rendered = self._template.render(asked, self._setting)
        prompt = prompt_tokens(self._tokenizer, rendered, self._context_length)
        reused = self._common_prefix(prompt)
        clock = self._speaker.clock
        begun = clock()
        del self._committed[reused:]
        self._speaker.executor.prefill(self._speaker.cache, prompt[reused:-1], reused)
        self._committed += prompt[reused:-1]
        prefill_seconds = clock() - begun
        rounds = list[Round]()
        reading = self._markers.reading(self._setting, rendered)
        try:
            for piece in (pieces := self._answer(prompt[-1], max_new_tokens, rounds)):
                if text := reading.push(piece):
                    yield text
            if text := reading.rest():
                yield text
        finally:
            pieces.close()
            said = reading.said()
            self._messages = [*asked, said.to_message()]
        tokens = tuple(token for done in rounds for token in done.tokens)
        return Answer(
            said.text,
            said.thought,
            said.tool_calls,
            tokens,
            self._finish(tokens, max_new_tokens),
            tuple(rounds),
            reused,
            len(prompt) - reused,
            prefill_seconds,
            len(self._committed),
        )

    def answer(self, turn: Turn, max_new_tokens: int) -> Answer:
        """Answer a turn and return the whole answer at once.

        Raises:
            ContextFullError: The conversation does not fit into the context; nothing has changed.
            EngineError: The runtime failed.
        """
        pieces = self.ask(turn, max_new_tokens)
        while True:
            try:
                next(pieces)
            except StopIteration as finished:
                result: Answer = finished.value
                return result

    def _common_prefix(self, prompt: Sequence[int]) -> int:
        """How much of ``prompt`` is in the cache; never its last token, which is still to be decoded."""
        pairs = zip(self._committed, prompt[:-1], strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def _answer(
        self, pending: int, max_new_tokens: int, rounds: list[Round]
    ) -> Generator[str, None, None]:
        """Text of the answer as it comes; every round is appended to ``rounds``."""
        stops = self._tokenizer.stop_tokens
        streaming = StreamingText(self._tokenizer)
        start = Cursor(len(self._committed), pending)
        limits = Limits(max_new_tokens, stops, self._context_length)
        for done in generate(self._speaker, start, limits, self._policy):
            rounds.append(done)
            self._committed += done.committed
            piece = streaming.push(token for token in done.tokens if token not in stops)
            if piece:
                yield piece
        if rest := streaming.flush():
            yield rest

    def _finish(self, tokens: Sequence[int], max_new_tokens: int) -> Finish:
        if tokens and tokens[-1] in self._tokenizer.stop_tokens:
            return Finish.STOP
        return Finish.LENGTH if len(tokens) >= max_new_tokens else Finish.CONTEXT
