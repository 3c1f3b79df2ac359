"""What the target is asked: prompts or conversations of a file, each ending with a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.tune.options import TuneError, TuningOptions
from exporter.verify.texts import read_prompts
from runtime_py.chat.chat_lines import read_chat_lines
from runtime_py.chat.conversation import Conversation, as_message
from runtime_py.chat.media import used_media
from runtime_py.opened_model import OpenedModel
from runtime_py.prompt import ContextFullError, PromptReader

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Questions:
    """What the target is to be asked."""

    users: tuple[Conversation, ...]
    """To tune with."""
    general: tuple[Conversation, ...]
    """To see what was forgotten."""


def read_questions(options: TuningOptions) -> Questions:
    """The prompts or conversations of the files that were given.

    Raises:
        ChatFileError: A file of conversations is no such file.
        TuneError: There are pictures or sounds in it.
        PromptFileError: A file of prompts is no text, or empty.
        OptionsError: Not one file was given.
    """
    options.check()
    if options.conversations is not None:
        users = tuple(read_conversations(options.conversations))
    else:
        assert options.prompts is not None
        users = _asking(options.prompts)
    return Questions(users, _asking(options.keep) if options.keep is not None else ())


def _asking(file: Path) -> tuple[Conversation, ...]:
    return tuple(map(Conversation.asking, read_prompts(file)))


def read_conversations(file: Path) -> list[Conversation]:
    """The conversations of a file, one a line; an answer at the end of one is left out.

    The answers that count are the target's own.

    Raises:
        ChatFileError: It is no such file.
        TuneError: There are pictures or sounds in it.
    """
    found = [line.conversation for line in read_chat_lines(file)]
    if media := used_media(found):
        kinds = " and ".join(f"{medium.noun}s" for medium in media)
        raise TuneError(
            f"{file}: expected conversations of text alone, found {kinds}; leave them out"
        )
    return found


def prompt_tokens(
    model: OpenedModel, questions: Sequence[Conversation], longest: int
) -> list[Tokens | None]:
    """Every conversation as the template renders it, in tokens; None where these are over ``longest``."""
    found = list[Tokens | None]()
    for question in questions:
        reader = PromptReader(model.tokenizer, model.template, question.setting)
        messages = [*question.history, *map(as_message, question.turns)]
        try:
            found.append(tuple(reader.read(messages, longest).tokens))
        except ContextFullError:
            found.append(None)
    return found
