"""Conversations as prompts: rendered by the template, then numbers for text and for pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporter.bundle.engine_template import Json
from exporter.errors import EngineError
from runtime_py.chat.chat_template import ChatTemplate
from runtime_py.chat.conversation import Message, Setting
from runtime_py.chat.media import Medium, content_of, media_parts
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.loop.executor import Lookups
from runtime_py.picture_encoder import PictureEncoder
from runtime_py.soft_tokens import SoftTokens


class ContextFullError(EngineError):
    """A conversation has grown longer than the context; start another or drop turns."""


@dataclass(frozen=True)
class Prompt:
    """A conversation up to where the answer begins."""

    text: str
    """With a mark where a picture goes."""
    tokens: list[int]
    """Negative where there is none; the last is a token."""


class PromptReader:
    """Makes the prompts of a conversation.

    Args:
        tokenizer: The bundle's.
        template: The bundle's.
        setting: Tools, and whether the model is to think.
        pictures: What encodes pictures; None where there are to be none.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        setting: Setting,
        pictures: PictureEncoder | None = None,
    ) -> None:
        self._tokenizer, self._template, self._setting = tokenizer, template, setting
        self._pictures = pictures
        self._soft = None if pictures is None else SoftTokens(pictures.tokens)

    @property
    def lookups(self) -> Lookups | None:
        """Embeddings for the numbers of prompts; None where those of tokens will do."""
        return self._soft

    def read(self, messages: Sequence[Message], context_length: int) -> Prompt:
        """The prompt of a conversation.

        Raises:
            BundleError: The template refuses it.
            MediaError: A picture cannot be used.
            EngineError: There are pictures or sounds that cannot be encoded here, or the template does not
                give each picture a place.
            ContextFullError: It is longer than ``context_length`` tokens.
        """
        text = self._template.render(messages, self._setting)
        tokens = self._numbers(text, media_parts(messages))
        if len(tokens) > context_length:
            raise ContextFullError(
                f"the conversation is {len(tokens)} tokens long and the context holds "
                f"{context_length}: start a new one, or export with a longer --cache-length"
            )
        return Prompt(text, tokens)

    def _numbers(self, text: str, parts: Sequence[Json]) -> list[int]:
        if not parts:
            return self._tokenizer.encode_prompt(text)
        first, *others = text.split(Medium.IMAGE.place)
        pictures = list(self._encoded(parts))
        if len(others) != len(pictures):
            raise EngineError(
                f"expected as many pictures as the prompt has places for, found {len(pictures)} for "
                f"{len(others)} places {Medium.IMAGE.place}"
            )
        numbers = self._tokenizer.encode_prompt(first)
        for picture, piece in zip(pictures, others, strict=True):
            numbers += [*picture, *self._tokenizer.encode(piece)]
        return numbers

    def _encoded(self, parts: Sequence[Json]) -> Iterator[list[int]]:
        """The numbers of each picture, with the token in front of it."""
        if any(part["type"] != Medium.IMAGE for part in parts):
            raise EngineError("the reference runtime takes no sounds: use --runtime litert-lm")
        if self._pictures is None or self._soft is None:
            raise EngineError("the model was opened for text alone: open it with pictures=True")
        opening = self._tokenizer.encode(self._pictures.opening)
        for part in parts:
            yield [*opening, *self._soft.numbers(self._pictures.encode(content_of(part)))]
