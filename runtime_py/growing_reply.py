"""A reply as it grows, round by round, for one sequence or for one of several."""

from __future__ import annotations

from collections.abc import Callable

from runtime_py.chat.reply_text import ReplyReading, Said
from runtime_py.chat.tokenizer import StreamingText, Tokenizer
from runtime_py.loop.rounds import Finish, Round
from runtime_py.reply import Piece, Reply


class GrowingReply:
    """The reply to a prompt that is about to be prefilled.

    Args:
        tokenizer: The bundle's.
        reading: Takes the reply apart.
        prompt_tokens: How many tokens the whole conversation has.
        clock: Seconds.
        reused_tokens: How many of them stand in the cache already.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        reading: ReplyReading,
        prompt_tokens: int,
        clock: Callable[[], float],
        reused_tokens: int = 0,
    ) -> None:
        self._stops, self._streaming = tokenizer.stop_tokens, StreamingText(tokenizer)
        self._reading, self._clock = reading, clock
        self._prompt_tokens, self._reused_tokens = prompt_tokens, reused_tokens
        self._rounds = list[Round]()
        self._begun, self._first = clock(), 0.0  # seconds until there was text
        self._prefill_seconds = self._decode_seconds = 0.0

    def prefilled(self) -> None:
        """The prompt is in the cache, but for its last token."""
        self._prefill_seconds = self._clock() - self._begun

    def push(self, done: Round, shared_by: int = 1) -> str:
        """The text that became certain with a round, which ``shared_by`` sequences took part in."""
        self._rounds.append(done)
        self._decode_seconds += done.seconds / shared_by
        new = self._streaming.push(token for token in done.tokens if token not in self._stops)
        return self._timed(self._reading.push(new))

    def texts(self, done: Round) -> list[str]:
        """What :meth:`push` gives, if anything."""
        return [text] if (text := self.push(done)) else []

    def pieces(self, done: Round) -> list[Piece]:
        """What :meth:`push` gives, token by token; at least one piece."""
        self._rounds.append(done)
        self._decode_seconds += done.seconds
        texts = [
            "" if token in self._stops else self._streaming.push((token,)) for token in done.tokens
        ]
        sources = [done.source] * done.accepted + [None] * len(texts)
        return [
            Piece(self._timed(self._reading.push(text)), source)
            for text, source in zip(texts, sources, strict=False)
        ]

    def end(self) -> str:
        """The text that was held back."""
        return self._timed(self._reading.push(self._streaming.flush()) + self._reading.rest())

    def _timed(self, text: str) -> str:
        if text and not self._first:
            self._first = self._clock() - self._begun
        return text

    def said(self) -> Said:
        """What the reply says so far."""
        return self._reading.said()

    def reply(self, finish: Finish) -> Reply:
        """The whole reply."""
        said = self.said()
        return Reply(
            text=said.text,
            thought=said.thought,
            tool_calls=said.tool_calls,
            prefill_tokens=self._prompt_tokens - self._reused_tokens,
            prefill_seconds=self._prefill_seconds,
            decode_tokens=sum(len(done.tokens) for done in self._rounds),
            decode_seconds=self._decode_seconds,
            time_to_first_token=self._first or self._clock() - self._begun,
            context_tokens=self._prompt_tokens - 1 + sum(len(r.committed) for r in self._rounds),
            reused_tokens=self._reused_tokens,
            rounds=tuple(self._rounds),
            finish=finish,
        )
