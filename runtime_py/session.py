"""A chat over one KV cache: several turns, with only what is new prefilled.

Before a turn the whole conversation is rendered by the template and tokenised; the longest prefix that
already stands in the cache stays, the rest is prefilled. So the cache always holds exactly what the
template says, whatever the model generated: an answer cut short, a stop token in the middle of an
accepted draft, thoughts the template drops from earlier turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import takewhile
from typing import Generic, TypeVar

from runtime_py.chat.chat_template import ChatTemplate
from runtime_py.chat.conversation import PLAIN, Message, Setting, Turn, as_message
from runtime_py.chat.reply_text import Markers
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.growing_reply import GrowingReply
from runtime_py.loop.executor import CacheT, Executor
from runtime_py.loop.returning import Returning
from runtime_py.loop.rounds import Cursor, Limits, Round
from runtime_py.loop.sampling import GREEDY, SamplingSettings, chooser
from runtime_py.loop.speculative import Clock, DraftPolicy, Fixed, Speaker, generate
from runtime_py.media.media_encoder import MediaEncoder
from runtime_py.prompt import PromptReader
from runtime_py.reply import Piece, Reply

ToldT = TypeVar("ToldT")


class Session(Generic[CacheT]):
    """One conversation.

    Args:
        executor: Shared by any number of sessions, one at a time.
        tokenizer: The bundle's.
        template: The bundle's.
        markers: How the bundle's answers mark thoughts and tool calls.
        history: What was said before, a system prompt first if there is one.
        setting: Tools, and whether the model is to think.
        policy: What to draft; by default nothing. It may be shared to share what it learns.
        sampling: By default greedy.
        context_length: Use less of the cache than there is.
        media: What encodes pictures and sounds; None where there are to be none.
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
        media: MediaEncoder | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        choosing = chooser(sampling, tokenizer.suppressed_tokens)
        self._speaker = Speaker(executor, executor.new_cache(), choosing, clock)
        self._tokenizer = tokenizer
        self._reader = PromptReader(tokenizer, template, setting, media)
        self._markers, self._setting = markers, setting
        self._policy: DraftPolicy = policy or Fixed(0)
        self._context_length = min(context_length or executor.cache_length, executor.cache_length)
        self._messages = list(history)
        self._committed: list[int] = []
        self._written = 0  # slots, rejected drafts among them, since slot 0 was

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far."""
        return tuple(self._messages)

    @property
    def committed(self) -> tuple[int, ...]:
        """The tokens in the cache, by slot; negative where something else is."""
        return tuple(self._committed)

    def ask(self, turn: Turn, max_new_tokens: int) -> Generator[str, None, Reply]:
        """Answer the user's words or a message: yields text as it comes, returns the whole reply.

        An answer that is abandoned half-way stays in the conversation as far as it went.

        Raises:
            ContextFullError: The conversation does not fit into the context; nothing has changed.
            EngineError: The runtime failed.
        """
        return self._answer(turn, max_new_tokens, GrowingReply.texts, str)

    def stream(self, turn: Turn, max_new_tokens: int) -> Generator[Piece, None, Reply]:
        """As :meth:`ask`, but token by token, each with where it was drafted; some have no text.

        Raises:
            ContextFullError: As for :meth:`ask`.
            EngineError: The runtime failed.
        """
        return self._answer(turn, max_new_tokens, GrowingReply.pieces, Piece)

    def _answer(
        self,
        turn: Turn,
        max_new_tokens: int,
        told: Callable[[GrowingReply, Round], Iterable[ToldT]],
        as_told: Callable[[str], ToldT],
    ) -> Generator[ToldT, None, Reply]:
        asked = [*self._messages, as_message(turn).sent()]
        read = self._reader.read(asked, self._context_length)
        prompt, reused = read.tokens, self._reusable(read.tokens)
        reading = self._markers.reading(self._setting, read.text)
        clock = self._speaker.clock
        growing = GrowingReply(self._tokenizer, reading, len(prompt), clock, reused)
        del self._committed[reused:]
        new, lookups = prompt[reused:-1], self._reader.lookups
        self._speaker.executor.prefill(self._speaker.cache, new, reused, lookups)
        self._commit(new)
        growing.prefilled()
        start = Cursor(len(self._committed), prompt[-1])
        limits = Limits(max_new_tokens, self._tokenizer.stop_tokens, self._context_length)
        rounds = Returning(generate(self._speaker, start, limits, self._policy, prompt[:-1]))
        try:
            for done in rounds:
                self._commit(done.committed)
                yield from told(growing, done)
            if text := growing.end():
                yield as_told(text)
        finally:
            self._messages = [*asked, growing.said().to_message()]
        return growing.reply(rounds.value)

    def answer(self, turn: Turn, max_new_tokens: int) -> Reply:
        """Answer a turn and return the whole reply at once.

        Raises:
            ContextFullError: The conversation does not fit into the context; nothing has changed.
            EngineError: The runtime failed.
        """
        pieces = Returning(self.ask(turn, max_new_tokens))
        for _ in pieces:
            pass
        return pieces.value

    def _commit(self, tokens: Sequence[int]) -> None:
        self._committed += tokens
        overshoot = self._speaker.executor.draft_length + 1
        self._written = max(self._written, len(self._committed) + overshoot)

    def _reusable(self, prompt: Sequence[int]) -> int:
        """How much of ``prompt`` is in the cache; never its last token, which is still to be decoded.

        Nothing, if the cache no longer has what the next token would see.
        """
        pairs = zip(self._committed, prompt[:-1], strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if common < self._speaker.executor.earliest_return(self._written):
            common = 0
        if not common:
            self._written = 0
        return common
