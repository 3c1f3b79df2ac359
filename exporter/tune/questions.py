"""What the target is asked: prompts or conversations of a file, each ending with a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.errors import listed
from exporter.json_text import JsonError, parse_json
from exporter.tune.options import TuneError, TuningOptions
from exporter.verify.texts import read_prompts
from runtime_py.chat.chat_file import ChatFileError, parse_chat
from runtime_py.chat.conversation import Conversation, as_message
from runtime_py.chat.media import used_media
from runtime_py.opened_model import OpenedModel
from runtime_py.prompt import ContextFullError, PromptReader

Tokens = tuple[int, ...]

SHOWN = 5
"""Lines that a message about a file names."""


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
        TuneError: A file of conversations is no such file.
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
    """A conversation a line, in the forms of chat files; an answer at the end of one is left out.

    The answers that count are the target's own. Lines end as in a file of prompts.

    Raises:
        TuneError: Listing the lines that are no conversation.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TuneError(f"{file}: expected conversations as lines of JSON ({error})") from error
    found, problems = list[Conversation](), list[str]()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(parse_chat(_without_answer(parse_json(line.encode())), file))
            except JsonError as error:
                problems.append(f"line {number}: expected JSON, found {error}")
            except ChatFileError as error:
                problems.append(f"line {number}: {str(error).removeprefix(f'{file}: ')}")
    if problems:
        left = len(problems) - SHOWN
        more = [f"and {left} more lines"] if left > 0 else []
        raise TuneError(f"{file}: {listed([*problems[:SHOWN], *more])}")
    if not found:
        raise TuneError(f"{file}: expected a conversation a line, found none")
    if media := used_media(found):
        kinds = " and ".join(f"{medium.noun}s" for medium in media)
        raise TuneError(
            f"{file}: expected conversations of text alone, found {kinds}; leave them out"
        )
    return found


def _without_answer(content: Any) -> Any:
    """A conversation up to its last question."""
    messages = content.get("messages") if isinstance(content, dict) else content
    if not isinstance(messages, list) or not messages:
        return content
    last = messages[-1]
    kept = messages[:-1] if isinstance(last, dict) and last.get("role") == "assistant" else messages
    return {**content, "messages": kept} if isinstance(content, dict) else kept


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
