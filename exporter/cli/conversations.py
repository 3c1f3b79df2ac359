"""What ``generate`` is asked: prompts, with pictures and sounds, or a chat file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runtime_py.chat.conversation import Conversation


def read_conversations(
    prompts: Sequence[str],
    prompt_file: Path | None,
    chat_file: Path | None,
    images: Sequence[Path],
    sounds: Sequence[Path],
    *,
    needs_picture: bool,
) -> list[Conversation]:
    """What is to be answered: the chat file's conversation, or one for each prompt.

    ``needs_picture`` is whether an option was given that is of no use without one.

    Raises:
        MtpExportError: A file cannot be used.
        click.UsageError: There is no picture.
    """
    from exporter.verify.texts import read_prompts
    from runtime_py.chat.chat_file import read_chat_file
    from runtime_py.chat.conversation import Conversation, Message
    from runtime_py.chat.media import Medium, file_part, used_media, with_media

    if chat_file:
        found = [read_chat_file(chat_file)]
    else:
        parts = [file_part(Medium.IMAGE, path) for path in images]
        parts += [file_part(Medium.AUDIO, path) for path in sounds]
        asked = read_prompts(prompt_file) if prompt_file else prompts
        found = [Conversation((Message("user", with_media(prompt, parts)),)) for prompt in asked]
    if needs_picture and Medium.IMAGE not in used_media(found):
        raise click.UsageError("--image-tokens is for pictures, and there are none: add --image")
    return found
