"""What ``generate`` and ``compare`` are asked: prompts, with pictures and sounds, or a chat file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.grouped_options import grouped
from exporter.cli.option_types import whole_texts
from exporter.regular_file import STDIN

if TYPE_CHECKING:
    from runtime_py.chat.conversation import Conversation


@dataclass(frozen=True)
class Asked:
    """What was given on the command line."""

    prompts: tuple[str, ...] = ()
    prompt_file: Path | None = None
    chat_file: Path | None = None
    images: tuple[Path, ...] = ()
    sounds: tuple[Path, ...] = ()
    image_tokens: int | None = None
    batch: int | None = None

    @property
    def ways(self) -> int:
        """In how many ways there are prompts."""
        return [bool(self.prompts), bool(self.prompt_file), bool(self.chat_file)].count(True)


def _file(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """A file that is read; ``-`` is stdin."""
    return STDIN if path is not None and str(path) == "-" else path


asking_options = grouped(
    Asked,
    "asked",
    (
        click.option(
            "-p",
            "--prompt",
            "prompts",
            multiple=True,
            callback=whole_texts,
            help="What to ask; may be given several times. `-` is stdin. Without a prompt, a pipe is read.",
        ),
        click.option(
            "--prompts",
            "prompt_file",
            type=click.Path(path_type=Path),
            callback=_file,
            help="A file of prompts, one a line; `-` is stdin.",
        ),
        click.option(
            "--chat-file",
            type=click.Path(path_type=Path),
            callback=_file,
            help="A conversation to go on with: JSON messages and tools; see docs/chat.md. `-` is stdin.",
        ),
        click.option(
            "--image",
            "images",
            type=click.Path(path_type=Path),
            multiple=True,
            help="A picture that every prompt gets, PNG or JPEG; may be given several times. It goes in "
            "front of the text, or where the prompt has <|image|>; see docs/pictures.md.",
        ),
        click.option(
            "--audio",
            "sounds",
            type=click.Path(path_type=Path),
            multiple=True,
            help="A sound that every prompt gets, WAV, FLAC or MP3, as --image; its place is <|audio|>.",
        ),
        click.option(
            "--image-tokens",
            type=click.IntRange(min=1),
            help="The most tokens that a picture may become.  [default: the most that the bundle allows]",
        ),
        click.option(
            "--batch",
            type=click.IntRange(1, 8),
            help="Prompts answered at once; when one is answered, the next takes its place. Needs "
            "--runtime reference and a bundle exported with --batch.  [default: as many as the bundle can]",
        ),
    ),
)
"""Gives a command the argument ``asked``."""


def read_conversations(asked: Asked) -> list[Conversation]:
    """What is to be answered: the chat file's conversation, or one for each prompt.

    Raises:
        MtpExportError: A file cannot be used.
        click.UsageError: There is nothing to answer, or no picture where an option is about them.
    """
    from exporter.verify.texts import read_prompts
    from runtime_py.chat.chat_file import read_chat_file
    from runtime_py.chat.conversation import Conversation, Message
    from runtime_py.chat.media import Medium, file_part, used_media, with_media

    if asked.chat_file:
        found = [read_chat_file(asked.chat_file)]
    else:
        parts = [file_part(Medium.IMAGE, path) for path in asked.images]
        parts += [file_part(Medium.AUDIO, path) for path in asked.sounds]
        prompts = read_prompts(asked.prompt_file) if asked.prompt_file else _prompts(asked.prompts)
        found = [Conversation((Message("user", with_media(prompt, parts)),)) for prompt in prompts]
    if asked.image_tokens is not None and Medium.IMAGE not in used_media(found):
        raise click.UsageError("--image-tokens is for pictures, and there are none: add --image")
    return found


def _prompts(given: Sequence[str]) -> list[str]:
    """Prompts of the command line; what is on stdin, whole, in place of ``-`` or of none."""
    if not given and sys.stdin.isatty():
        raise click.UsageError("give --prompt, --prompts or --chat-file, or a prompt by a pipe")
    return [_piped() if prompt == "-" else prompt for prompt in given or ("-",)]


def _piped() -> str:
    try:
        text = sys.stdin.read().strip()
        text.encode()
    except UnicodeError as error:
        raise click.UsageError(f"stdin: expected text in UTF-8 ({error})") from error
    if not text:
        raise click.UsageError(
            "stdin: expected a prompt, found nothing: give --prompt, --prompts or --chat-file"
        )
    return text


def headings(conversations: Sequence[Conversation]) -> list[str]:
    """Of each conversation its last message, in a line."""
    from runtime_py.chat.conversation import as_message

    messages = (as_message(conversation.turns[-1]) for conversation in conversations)
    return [" ".join(_text(message.content).split()) for message in messages]


def _text(content: str | Sequence[object]) -> str:
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)]
    return " ".join(str(part.get("text", f"<{part.get('type')}>")) for part in parts)
