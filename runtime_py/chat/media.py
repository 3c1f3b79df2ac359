"""Pictures and sounds as parts of a message, in the engine's spelling.

``{"type": "image", "path": ...}`` or, where there is no file, ``{"type": "image", "blob": ...}`` in base64;
``audio`` likewise. A part is made only of what has been looked at: its format and its size. Chat templates
print a mark for each, which is where it goes in the prompt.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from exporter.bundle.engine_template import Json
from exporter.bundle.reader import Bundle
from exporter.contract.names import Section
from exporter.errors import BundleError, MtpExportError
from exporter.regular_file import NotAFileError, require_file
from runtime_py.chat.conversation import Conversation, Message, as_message
from runtime_py.chat.media_format import check_picture, check_sound

MOST_BYTES = 64 * 2**20
"""The largest file of a picture or a sound that is taken."""


class MediaError(MtpExportError):
    """A file is not a picture or a sound that can be used, or has no place in a prompt."""


class Medium(enum.StrEnum):
    """What a part can be besides text, by its ``type``."""

    IMAGE = "image"
    AUDIO = "audio"

    @property
    def noun(self) -> str:
        return {Medium.IMAGE: "picture", Medium.AUDIO: "sound"}[self]

    @property
    def place(self) -> str:
        """The mark that a chat template prints for one."""
        return f"<|{self}|>"

    @property
    def section(self) -> Section:
        """The section that only bundles that take it have."""
        return {Medium.IMAGE: Section.VISION_ENCODER, Medium.AUDIO: Section.AUDIO_ENCODER}[self]

    def check(self, content: bytes) -> None:
        """Refuse content that is no picture or no sound that can be used.

        Raises:
            ValueError: Saying what was expected and what was found.
        """
        {Medium.IMAGE: check_picture, Medium.AUDIO: check_sound}[self](content)


def file_part(medium: Medium, path: Path) -> Json:
    """A part that names a file.

    Raises:
        MediaError: It cannot be read, is too large, or is no such picture or sound.
    """
    read_file(medium, path)
    return {"type": medium.value, "path": str(path.absolute())}


def blob_part(medium: Medium, text: str) -> Json:
    """A part that holds its content, in base64.

    Raises:
        MediaError: It is not base64, is too large, or is no such picture or sound.
    """
    content = _decoded(medium, text)
    return {"type": medium.value, "blob": base64.b64encode(content).decode()}


def content_of(part: Json) -> bytes:
    """What is in a part's file, or in the part.

    Raises:
        MediaError: As for :func:`file_part` and :func:`blob_part`.
    """
    medium = Medium(part["type"])
    if "path" in part:
        return read_file(medium, Path(part["path"]))
    return _decoded(medium, part["blob"])


def read_file(medium: Medium, path: Path) -> bytes:
    """What is in a file, if that is a picture or a sound.

    Raises:
        MediaError: It cannot be read, is too large, or is no such picture or sound.
    """
    try:
        with require_file(path).open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except NotAFileError as error:
        raise MediaError(f"{path}: {error.strerror}, for a {medium.noun}") from error
    except OSError as error:
        raise MediaError(f"{path}: the file cannot be read: {error.strerror}") from error
    return _checked(medium, content, f"{path}: ")


def _decoded(medium: Medium, text: str) -> bytes:
    try:
        content = base64.b64decode(text[: MOST_BYTES // 3 * 4 + 8], validate=True)
    except (ValueError, binascii.Error) as error:
        raise MediaError(f"expected a {medium.noun} in base64 ({error})") from error
    return _checked(medium, content, "")


def _checked(medium: Medium, content: bytes, where: str) -> bytes:
    if len(content) > MOST_BYTES:
        raise MediaError(f"{where}expected a {medium.noun} of at most {MOST_BYTES} bytes")
    try:
        medium.check(content)
    except ValueError as error:
        raise MediaError(f"{where}{error}") from error
    return content


def is_media(part: Json) -> bool:
    """Whether a part is a picture or a sound."""
    return part.get("type") in list(Medium)


def media_parts(messages: Iterable[Message]) -> list[Json]:
    """The pictures and sounds of messages, in order."""
    parted = (message.content for message in messages if not isinstance(message.content, str))
    return [part for parts in parted for part in parts if is_media(part)]


def used_media(conversations: Iterable[Conversation]) -> frozenset[Medium]:
    """What pictures and sounds conversations have."""
    return frozenset(
        Medium(part["type"])
        for conversation in conversations
        for part in media_parts((*conversation.history, *map(as_message, conversation.turns)))
    )


def require_media(bundle: Bundle, media: Iterable[Medium]) -> None:
    """Refuse pictures or sounds that a bundle has no graph for.

    Raises:
        BundleError: Naming the first of them.
    """
    for medium in sorted(media):
        if bundle.model(medium.section) is None:
            raise BundleError(
                f"{bundle.path}: expected a bundle that takes {medium.noun}s, found one without section "
                f"{medium.section}: ask without {medium.noun}s, or export a checkpoint that takes them"
            )


def with_media(prompt: str, parts: Sequence[Json]) -> str | tuple[Json, ...]:
    """A prompt with pictures and sounds in their places.

    They fill the marks in the prompt, ``<|image|>`` and ``<|audio|>``, in the order given. Those of a kind
    that the prompt has no mark of go in front of the text: ``Which is older?`` with two pictures is
    picture, picture, text; ``Is this<|image|> a frog?`` with one is text, picture, text.

    Raises:
        MediaError: There are more or fewer pictures or sounds than marks for them.
    """
    waiting = {medium: [part for part in parts if part["type"] == medium] for medium in Medium}
    front: list[Json] = []
    for medium, given in waiting.items():
        places = prompt.count(medium.place)
        if places and places != len(given):
            raise MediaError(
                f"expected as many {medium.noun}s as the prompt has places {medium.place}, found "
                f"{len(given)} for {places}: give as many, or leave the places out and {medium.noun}s "
                "go in front"
            )
        front += [] if places else given
    if not parts:
        return prompt
    return (*front, *_in_places(prompt, {m: iter(given) for m, given in waiting.items()}))


def _in_places(prompt: str, waiting: dict[Medium, Iterator[Json]]) -> Iterator[Json]:
    for piece in split_at_places(prompt):
        if isinstance(piece, Medium):
            yield next(waiting[piece])
        elif piece:
            yield {"type": "text", "text": piece}


def split_at_places(text: str) -> Iterator[str | Medium]:
    """A text, cut at the places for pictures and sounds: texts, which may be empty, and what goes between."""
    by_place: dict[str, Medium] = {medium.place: medium for medium in Medium}
    for piece in re.split(f"({'|'.join(map(re.escape, by_place))})", text):
        yield by_place.get(piece, piece)
