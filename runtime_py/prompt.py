"""Conversations as prompts: rendered by the template, then numbers for text, pictures and sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.bundle.engine_template import Json
from exporter.errors import EngineError
from runtime_py.chat.chat_template import ChatTemplate
from runtime_py.chat.conversation import ROOM, Message, Setting
from runtime_py.chat.media import Medium, media_parts, split_at_places
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.loop.executor import Lookups
from runtime_py.media.media_encoder import MediaEncoder
from runtime_py.media.soft_tokens import SoftTokens


class ContextFullError(EngineError):
    """A conversation has grown longer than the context; start another or drop turns."""


@dataclass(frozen=True)
class Prompt:
    """A conversation up to where the answer begins."""

    text: str
    """With a mark where a picture or a sound goes."""
    tokens: list[int]
    """Numbers of tokens; negative ones stand for pieces of a picture or a sound. The last is a token's."""


class PromptReader:
    """Makes the prompts of a conversation.

    Args:
        tokenizer: The bundle's.
        template: The bundle's.
        setting: Tools, and whether the model is to think.
        media: What encodes pictures and sounds; None where there are to be none.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        setting: Setting,
        media: MediaEncoder | None = None,
    ) -> None:
        self._tokenizer, self._template, self._setting = tokenizer, template, setting
        self._media = media
        self._soft = None if media is None else SoftTokens(media.tokens)

    @property
    def lookups(self) -> Lookups | None:
        """Embeddings for the numbers of prompts; None where all of them are tokens'."""
        return self._soft

    def read(self, messages: Sequence[Message], context_length: int) -> Prompt:
        """The prompt of a conversation.

        Raises:
            BundleError: The template refuses it.
            MediaError: A picture or a sound cannot be used.
            EngineError: There are pictures or sounds that are not encoded here, or the template does not give
                each a place.
            ContextFullError: It is longer than ``context_length`` tokens.
        """
        text = self._template.render(messages, self._setting)
        tokens = self._numbers(text, media_parts(messages))
        if len(tokens) > context_length:
            raise ContextFullError(
                f"the conversation is {len(tokens)} tokens long and the context holds {context_length}: "
                f"{ROOM}; its last message begins with {messages[-1].beginning!r}"
            )
        return Prompt(text, tokens)

    def _numbers(self, text: str, parts: Sequence[Json]) -> list[int]:
        if not parts:
            return self._tokenizer.encode_prompt(text)
        if self._media is None or self._soft is None:
            raise EngineError(
                "the model was opened for text alone: open it with media=list(Medium)"
            )
        first, *pieces = split_at_places(text)
        _require_places([piece for piece in pieces if isinstance(piece, Medium)], parts)
        waiting = {medium: [part for part in parts if part["type"] == medium] for medium in Medium}
        numbers = self._tokenizer.encode_prompt(first)
        for piece in pieces:
            if isinstance(piece, Medium):
                numbers += self._tokenizer.encode(self._media.opening(piece))
                numbers += self._soft.numbers(self._media.encode(waiting[piece].pop(0)))
            else:
                numbers += self._tokenizer.encode(piece)
        return numbers


def _require_places(places: Sequence[Medium], parts: Sequence[Json]) -> None:
    for medium in Medium:
        given = sum(part["type"] == medium for part in parts)
        if places.count(medium) != given:
            raise EngineError(
                f"expected as many {medium.noun}s as the prompt has places for, found {given} for "
                f"{places.count(medium)} places {medium.place}"
            )
